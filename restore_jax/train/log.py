"""What a run says of itself: a progress bar, a table of JSON lines, pictures, and the trackers it was given.

workdir/table.jsonl          a row each `log_every_images`: step, images, loss, what the method logs, the rate
workdir/pictures/<images>.png  y | x_hat | x on held-out crops, the newest three
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from restore_jax.photo.write import write
from restore_jax.train.trackers import OpenTracker, TensorBoard, Tracker

PICTURES = 3  # files that stay
SAID = 3  # lines at a time


class RunLog:
    """The log of one workdir; a context manager. Only the process that `writes` leaves anything.

    Rows after `start_step`, left by a run that was killed after its last checkpoint, are taken back,
    so that a resumed table reads like an uninterrupted one. A tracker that fails in mid-run is named aloud and
    left; the run goes on.
    """

    def __init__(
        self,
        workdir: str | Path,
        label: str,
        total_images: int,
        batch_size: int,
        start_step: int = 0,
        *,
        trackers: Sequence[Tracker] = (TensorBoard(),),
        config: Mapping[str, Any] | None = None,
        writes: bool = True,
    ):
        self.workdir, self.table = Path(workdir), Path(workdir) / "table.jsonl"
        self.batch_size = batch_size
        self.writes = writes
        self.rows: list[dict[str, float | int]] = []
        self._take_back(start_step)
        images = start_step * batch_size
        self._trackers = [one.open(workdir, label, config or {}, images) for one in trackers] if writes else []
        self._bar = tqdm(
            total=total_images,
            initial=images,
            desc=label,
            unit="image",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 15.0,  # a log file wants few lines
            disable=not writes,
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
        self._tell(lambda tracker: tracker.close())

    def tick(self, steps: int = 1) -> None:
        """So many more batches are done."""
        self._bar.update(steps * self.batch_size)

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        """One row of numbers at `step`, to the table, the trackers and the bar."""
        numbers = {name: float(value) for name, value in values.items()}
        images = step * self.batch_size
        self.rows.append({"step": step, "images": images, **numbers})
        if not self.writes:
            return
        with open(self.table, "a", encoding="utf-8") as table:
            table.write(json.dumps(self.rows[-1]) + "\n")
        self._tell(lambda tracker: tracker.scalars(images, numbers))
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()})

    def pictures(self, step: int, name: str, grid: Float[np.ndarray, "h w 3"]) -> None:
        """One picture in [0, 1] at `step`, to the folder and the trackers; what is not finite is shown black."""
        if not self.writes:
            return
        images = step * self.batch_size
        grid = np.clip(np.nan_to_num(grid, nan=0.0), 0, 1).astype(np.float32)
        folder = self.workdir / "pictures"
        folder.mkdir(exist_ok=True)
        write(folder / f"{images}.png", grid)
        for old in sorted(folder.glob("[0-9]*.png"), key=lambda path: int(path.stem))[:-PICTURES]:
            old.unlink()
        self._tell(lambda tracker: tracker.picture(images, name, grid))

    def rewind(self, step: int) -> None:
        """The run goes on from an earlier step: rows and pictures after it are taken back."""
        self._take_back(step)
        self._bar.n = step * self.batch_size
        self._bar.refresh()
        self._tell(lambda tracker: tracker.rewind(step * self.batch_size))

    def say(self, text: str) -> None:
        """A line that does not break the bar."""
        if self.writes:
            self._bar.write(text)

    def say_some(self, lines: Iterable[str]) -> None:
        """The first few lines, and how many more there are."""
        lines = list(lines)
        for line in lines[:SAID]:
            self.say(line)
        if len(lines) > SAID:
            self.say(f"... and {len(lines) - SAID} more such steps: see spikes.jsonl.")

    def _tell(self, what: Callable[[OpenTracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                what(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self.say(f"The tracker {type(tracker).__name__.strip('_')} failed and is left out from here: {reason}")

    def _take_back(self, start_step: int) -> None:
        lines = self.table.read_text(encoding="utf-8").splitlines(keepends=True) if self.table.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= start_step]
        self.rows = [json.loads(line) for line in kept]
        if not self.writes:
            return
        if len(kept) < len(lines):
            partial = self.table.with_suffix(".partial")
            partial.write_text("".join(kept), encoding="utf-8")
            os.replace(partial, self.table)
        for picture in (self.workdir / "pictures").glob("[0-9]*.png"):
            if int(picture.stem) > start_step * self.batch_size:
                picture.unlink()
