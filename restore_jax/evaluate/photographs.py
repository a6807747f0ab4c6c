"""The work of `restore-jax photo`: many photographs through the restorers of a task, and what is said about them."""

import hashlib
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from restore_jax import __version__
from restore_jax.evaluate.honesty import Halves, Shrink, maps_of, section, write_page
from restore_jax.evaluate.run import weights_hash
from restore_jax.export.runner import loaded
from restore_jax.infer.jobs import Job, Journal, Outcome, Stop, Stopped, jobs_of, overlap
from restore_jax.infer.task import FEW_SIZES, Damage, Finish, Tasks, restore_rows
from restore_jax.photo.encode import BY_ROWS, kind_of
from restore_jax.photo.photo import BandWriter, Photo, PhotoWarning, open_photo, save_photo
from restore_jax.photo.read import PhotoError, size

REPORTED = 20  # a page of more cannot be looked through
BAND_MP = 24.0  # restorations larger than this go to the file by bands, where its format allows
SETTINGS = (
    "task",
    "runtime",
    "strength",
    "samples",
    "ensemble",
    "colour",
    "grain",
    "seed",
    "quality",
    "strip_gps",
    "strip_all",
)


@dataclass(eq=False)
class Opened:
    """A photograph that was read, and what is wrong with it."""

    photo: Photo
    damage: Damage | None


@dataclass(eq=False)
class Restored:
    """A photograph that was restored; `after` is None where it has been written already."""

    before: Photo
    after: Photo | None
    said: str
    damage: Damage | None = None
    spread: np.ndarray | None = None
    facts: Mapping[str, Any] | None = None


def device_named(name: str) -> Any:
    """The device `cpu`, `gpu:1`, `tpu`, ...

    Raises:
        ValueError: there is none.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "gpu", "tpu") or (number and not number.isdigit()):
        raise ValueError(f"--device is cpu, gpu or tpu, with a number such as gpu:1, not {name}.")
    try:
        found = jax.devices(kind)
    except RuntimeError as error:
        raise ValueError(
            f"--device {name}: JAX sees {', '.join(map(str, jax.devices()))}. For another, install its JAX."
        ) from error
    if int(number or 0) >= len(found):
        raise ValueError(f"--device {name}: there are {len(found)} of {kind}, counted from 0.")
    return found[int(number or 0)]


class Photographs:
    """A folder's worth of work, made of the command's options by `Photographs.of`."""

    def __init__(self, options: Mapping[str, Any], jobs: list[Job], device: Any) -> None:
        self.options, self.jobs, self.device = dict(options), jobs, device
        self.said: Callable[[str], None] = lambda text: tqdm.write(text, file=sys.stderr)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Photographs":
        """The work that options describe; models are loaded.

        Raises:
            ValueError: options that contradict each other, no files, or no model for the task.
        """
        if (options["task"] == "inpaint") != bool(options["mask"]):
            raise ValueError("--task inpaint and --mask FILE go together: white in the mask is missing.")
        for name, least, most in (("quality", 1, 100), ("jobs", 1, 256)):
            if not least <= options[name] <= most:
                raise ValueError(f"--{name} lies in [{least}, {most}], not {options[name]}.")
        jobs = jobs_of(options["inputs"], options["output"], options["suffix"], options["format"])
        if not jobs:
            raise ValueError(f"no photographs in {', '.join(options['inputs'])}: nothing to do.")
        self = cls(options, jobs, None if options["device"] is None else device_named(options["device"]))
        if options["mask"]:
            self.seen  # noqa: B018 (a mask that cannot be read is said before any work)
        self.settings  # noqa: B018
        if self.left()[0]:  # else there is nothing to load them for
            with jax.default_device(self.device):
                for task in self.tasks.found:
                    self.tasks.tile(task)
        return self

    # -----------------------------------------------------------------------------------------
    # What the options mean
    # -----------------------------------------------------------------------------------------

    @property
    def into_file(self) -> bool:
        """Whether one photograph goes into a file that was named, or to the standard output."""
        return len(self.jobs) == 1 and self.jobs[0].target in (None, Path(self.options["output"]))

    @cached_property
    def sizes(self) -> dict[Job, tuple[int, int]]:
        """Height and width of the photographs, as far as their headers say."""
        found = {}
        for job in self.jobs:
            try:
                if job.source is not None and not job.error:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # it is said when the file is read
                        found[job] = size(job.source)
            except PhotoError:  # HEIC, raw, and what is said when it is read
                continue
        return found

    @cached_property
    def tasks(self) -> Tasks:
        """The restorers."""
        o, sizes = self.options, set(self.sizes.values())
        many = len(sizes) > FEW_SIZES
        return Tasks(
            task=o["task"],
            model=o["model"],
            models=o["models"],
            finish=Finish(
                strength=float(o["strength"]),
                ensemble=o["ensemble"],
                colour=o["colour"],
                samples=o["samples"],
                grain=float(o["grain"]),
                spread=bool(o["report"]),
                fill=o["task"] == "inpaint",
            ),
            tile_px=o["tile"],
            overlap_px=o["overlap"],
            short_px=int(statistics.quantiles([min(s) for s in sizes], n=10)[0]) if many else None,
            say=self.said,
            load=partial(loaded, runtime=o["runtime"], tile_px=o["tile"]),
        )

    @cached_property
    def seen(self) -> np.ndarray | None:
        """1 where the mask says that a pixel was seen."""
        if not self.options["mask"]:
            return None
        return (open_photo(self.options["mask"]).x.mean(-1, keepdims=True) < 0.5).astype(np.float32)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides about the pixels and the file."""
        own = {name: self.options[name] for name in SETTINGS} | {"models": self.tasks.stamp, "restore_jax": __version__}
        own |= {name: self.options[name] for name in ("tile", "overlap") if self.options[name] is not None}
        if self.seen is not None:
            own["mask"] = hashlib.sha256(self.seen.tobytes()).hexdigest()[:12]
        return own

    @cached_property
    def journal(self) -> Journal | None:
        """That of the output folder; a file that was named has none."""
        if self.into_file:
            return None
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:12]
        return Journal(Path(self.options["output"]), digest)

    # -----------------------------------------------------------------------------------------
    # One photograph
    # -----------------------------------------------------------------------------------------

    def decode(self, job: Job) -> Opened:
        """Reads it, and looks at its damage where somebody asks."""
        file = sys.stdin.buffer.read() if job.source is None else job.source
        photo = open_photo(file, job.name)
        wanted = self.options["task"] == "auto" and not self.options["model"]
        if not (wanted or self.options["verbose"] or self.options["report"]):
            return Opened(photo, None)
        top, left = (max(0, (n - 2048) // 2) // 8 * 8 for n in (photo.height, photo.width))
        y = photo.rows(top, min(top + 2048, photo.height))[:, left : left + 2048]
        return Opened(photo, Damage.of(y, file))

    def restore(self, job: Job, opened: Opened, progress: Callable[[int, int], None]) -> Restored:
        """Restores it; a large one is written meanwhile."""
        photo, damage = opened.photo, opened.damage
        task = self.tasks.chosen(damage)
        found = "" if damage is None else f"{damage}; "
        if task is None:
            why = f"needs {', '.join(damage.tasks)}: no model" if damage and damage.tasks else "nothing to mend"
            return Restored(photo, photo, f"{found}{why}, kept as it is", damage)
        tile = self.tasks.tile(task)
        height, width = photo.height * tile.scale, photo.width * tile.scale
        model = self.tasks.found[task].name
        done = Restored(photo, None, f"{found}{task} by {model}", damage)
        key = jax.random.key(self.options["seed"])
        if self.options["report"]:
            own, spread = photo.sink(height, width), Shrink(height, width)
            restore_rows(tile, key, photo, Halves(own, spread), self.seen, progress)
            done.after, done.spread = own.photo(), spread.picture()
            done.facts = {"task": task, "model": model, "weights": weights_hash(tile)}
        elif job.target is not None and kind_of(job.target) in BY_ROWS and height * width > BAND_MP * 1e6:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            self._begin(job)
            strip = {name: self.options[name] for name in ("strip_gps", "strip_all")}
            with BandWriter(job.target, (height, width), photo, **strip) as out:
                restore_rows(tile, key, photo, out, self.seen, progress)
        else:
            own = photo.sink(height, width)
            restore_rows(tile, key, photo, own, self.seen, progress)
            done.after = own.photo()
        return done

    def encode(self, job: Job, restored: Restored) -> tuple[str, str | None]:
        """Writes it; what is said of it, and its part of the report."""
        o = self.options
        options = {"strip_gps": o["strip_gps"], "strip_all": o["strip_all"], "quality": o["quality"]}
        if job.target is None and restored.after is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"out.{o['format'].lower()}"
                save_photo(path, restored.after, **options)
                sys.stdout.buffer.write(path.read_bytes())
                sys.stdout.buffer.flush()
        elif job.target is not None and restored.after is not None:
            if not self.into_file:
                job.target.parent.mkdir(parents=True, exist_ok=True)
            self._begin(job)
            save_photo(job.target, restored.after, **options)
        if self.journal is not None:
            self.journal.done(job)
        page = None
        if o["report"] and restored.facts is not None and restored.after is not None and job in self.jobs[:REPORTED]:
            page = section(job.name, maps_of(restored.before, restored.after, restored.spread), self._facts(restored))
        return restored.said, page

    def _begin(self, job: Job) -> None:
        if self.journal is not None:
            self.journal.begin(job)

    def _facts(self, restored: Restored) -> dict[str, Any]:
        before, after = restored.before, restored.after
        assert after is not None
        top, left = (max(0, (n - 1024) // 2) for n in (after.height, after.width))
        y_hat = after.rows(top, min(top + 1024, after.height))[:, left : left + 1024]
        sizes = {"size": f"{before.width} x {before.height} to {after.width} x {after.height}"}
        draws = self.tasks.tile(str((restored.facts or {})["task"])).restorer.restorer.draws  # inside Spread
        of = f"{max(2, self.options['samples'])} samples" if draws else "the answers to y mirrored four ways"
        facts = {**sizes, **(restored.facts or {}), "spread of": of, "found before": restored.damage}
        return facts | {"found after": Damage.of(y_hat)}

    # -----------------------------------------------------------------------------------------
    # All of them
    # -----------------------------------------------------------------------------------------

    def left(self) -> tuple[list[Job], int]:
        """What is to be done, and how many have been done before."""
        jobs, done = [], 0
        for job in self.jobs:
            there = job.target is not None and job.target.exists()
            state = self.journal.state(job) if self.journal is not None else "foreign" if there else "ours"
            if self.options["overwrite"] or job.error:
                state = "ours"
            done += state == "done"
            if state == "foreign":
                job = Job(job.source, job.target, f"{job.name}: {job.target} exists already: --overwrite replaces it.")
            if state != "done":
                jobs.append(job)
        return jobs, done

    def run(self) -> int:
        """Does all the work, says how it went, and answers the exit status."""
        jobs, skipped = self.left()
        if not self.into_file:
            Path(self.options["output"]).mkdir(parents=True, exist_ok=True)
        mp = {job: self.sizes[own][0] * self.sizes[own][1] / 1e6 for job, own in self._own(jobs) if own in self.sizes}
        restored, failed, done_mp, start, pages = 0, [], 0.0, time.perf_counter(), []
        bar = tqdm(
            total=round(sum(mp.values()), 2),
            desc="photo",
            unit="MP",
            disable=None,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} MP, {remaining} left, {rate_fmt}",
        )
        with jax.default_device(self.device), Stop() as stop, warnings.catch_warnings(), bar:
            warnings.simplefilter("always", PhotoWarning)
            warnings.showwarning = lambda message, *_: self.said(f"restore-jax photo: {message}")

            def restore(job: Job, opened: Opened) -> Restored:
                own, reached = opened.photo.height * opened.photo.width / 1e6, 0.0
                if job not in mp:
                    bar.total += own
                    mp[job] = own

                def progress(done: int, total: int) -> None:
                    nonlocal reached
                    stop.check()
                    bar.update(max(0.0, own * done / total - reached))
                    reached = max(reached, own * done / total)

                result = self.restore(job, opened, progress)
                bar.update(own - reached)
                return result

            try:
                for outcome in overlap(jobs, self.decode, restore, self.encode, self.options["jobs"], stop):
                    if outcome.error:
                        failed.append(outcome)
                        self.said(f"restore-jax photo: {outcome.error}")
                        continue
                    restored, done_mp = restored + 1, done_mp + mp.get(outcome.job, 0.0)
                    said, page = outcome.value
                    pages += [page] if page else []
                    if self.options["verbose"]:
                        self.said(f"{outcome.job.name}: {said}")
            except Stopped:
                pass
        if self.options["report"] and pages:
            facts = {"protocol": "no reference; see the footer", "settings": json.dumps(self.settings)}
            write_page(self.options["report"], pages, facts, max(0, restored - len(pages)))
        return self._summary(len(jobs), restored, failed, skipped, done_mp, time.perf_counter() - start, stop.asked)

    def _own(self, jobs: list[Job]) -> list[tuple[Job, Job]]:
        by_place = {(job.source, job.target): job for job in self.jobs}
        return [(job, by_place[job.source, job.target]) for job in jobs if not job.error]

    def _summary(
        self, asked: int, restored: int, failed: list[Outcome], skipped: int, mp: float, seconds: float, stopped: bool
    ) -> int:
        parts = [f"{restored} restored"]
        parts += [f"{skipped} done before"] if skipped else []
        parts += [f"{len(failed)} failed"] if failed else []
        parts += [f"{asked - restored - len(failed)} left"] if stopped else []
        pace = f"; {mp:.1f} MP in {seconds:.1f} s, {mp / seconds:.2g} MP/s" if restored and mp else ""
        self.said(f"restore-jax photo: {', '.join(parts)}{pace}")
        if stopped:
            self.said("Stopped; the same command goes on with what is left.")
            return 130
        return 1 if failed else 0
