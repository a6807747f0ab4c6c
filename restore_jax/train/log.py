"""What a run says of itself: a progress bar, a table of JSON lines, TensorBoard scalars and pictures."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm


class RunLog:
    """The log of one workdir: `table.jsonl`, `tensorboard/`, and a bar on the terminal; a context manager.

    Rows after `start_step`, left by a run that was killed after its last checkpoint, are taken back,
    so that a resumed table reads like an uninterrupted one.
    """

    def __init__(self, workdir: str | Path, label: str, total_images: int, batch_size: int, start_step: int = 0):
        from tensorboardX import SummaryWriter

        self.table = Path(workdir) / "table.jsonl"
        self.batch_size = batch_size
        self._take_back(start_step)
        self._writer = SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=start_step)
        self._bar = tqdm(
            total=total_images,
            initial=start_step * batch_size,
            desc=label,
            unit="image",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 15.0,  # a log file wants few lines
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
        self._writer.close()

    def tick(self) -> None:
        """One more batch is done."""
        self._bar.update(self.batch_size)

    def row(self, step: int, values: dict[str, Any]) -> None:
        """One row of numbers at `step`, to the table, TensorBoard and the bar."""
        values = {name: float(value) for name, value in values.items()}
        with open(self.table, "a", encoding="utf-8") as table:
            table.write(json.dumps({"step": step, "images": step * self.batch_size, **values}) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step * self.batch_size)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()})

    def pictures(self, step: int, name: str, grid: Float[np.ndarray, "h w 3"]) -> None:
        """One picture in [0, 1] at `step`, to TensorBoard."""
        self._writer.add_image(name, np.clip(grid, 0, 1), step * self.batch_size, dataformats="HWC")

    def say(self, text: str) -> None:
        """A line that does not break the bar."""
        self._bar.write(text)

    def _take_back(self, start_step: int) -> None:
        if not self.table.exists():
            return
        rows = self.table.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [row for row in rows if row.endswith("\n") and json.loads(row)["step"] <= start_step]
        partial = self.table.with_suffix(".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        os.replace(partial, self.table)
