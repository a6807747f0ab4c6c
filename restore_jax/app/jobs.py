"""Photographs that wait to be restored, one at a time, and are kept until they are fetched.

    jobs = Jobs({"denoise": "models/denoise"}, Limits(), folder)
    job = jobs.add("holiday.jpg", "denoise", path)      restored in a thread, in the order of arrival
    jobs.download(job, strength=0.7, suffix=".jpg")     a file; the network does not run again

A job is a folder: the upload, x_hat in float32, and two small pictures to look at. It goes when it is forgotten, when
nobody asked for it for `keep_s` seconds, and when the server ends.
"""

import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32
from PIL import Image

from restore_jax.core import Keys, Observation
from restore_jax.infer.bands import ArraySink
from restore_jax.infer.load import load
from restore_jax.infer.restoration import Rows, restore, tiled
from restore_jax.infer.strength import Strength
from restore_jax.infer.tile import Tile
from restore_jax.photo.photo import SUFFIXES, open_photo, save_photo
from restore_jax.photo.write import to_uint8, write

VIEW_PX = 2048  # the longer side of what the browser shows


class Refused(ValueError):
    """What a visitor asked for and does not get; one line, with the HTTP status that says so."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class _Forgotten(Exception):
    """The photograph is no longer wanted."""


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask of the machine.

    Args:
        max_mb: of an upload.
        max_megapixels: of a restored photograph, which is held in float32 on the disk: 12 bytes a pixel.
        waiting: photographs in the queue.
        kept: restored photographs that are kept at a time.
        keep_s: seconds for which nobody asks, after which one is deleted.

    Raises:
        ValueError: one of them is 0 or less.
    """

    max_mb: float = 64.0
    max_megapixels: float = 64.0
    waiting: int = 8
    kept: int = 16
    keep_s: float = 1800.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"Limits.{name} must be above 0, not {value}.")


@dataclass(frozen=True, eq=False)
class Remembered:
    """The restorer that was asked before: it answers cond["x_hat"]."""

    scale: int
    draws: int = 0

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The answer."""
        return jnp.asarray(obs.cond["x_hat"])


@dataclass(eq=False)
class Job:
    """A photograph on its way: state is waiting, running, done or failed."""

    id: str
    name: str
    model: str
    folder: Path
    state: str = "waiting"
    progress: float = 0.0
    error: str = ""
    height: int = 0
    width: int = 0
    scale: int = 1
    wanted: bool = True
    touched: float = field(default_factory=time.monotonic)

    @property
    def suffix(self) -> str:
        """That of the upload, or of TIFF where it cannot be written or would pass for the camera's own."""
        suffix = Path(self.name).suffix.lower()
        return suffix if suffix in SUFFIXES and suffix != ".dng" else ".tif"


class Jobs:
    """The queue and what it has restored; `close` deletes everything."""

    def __init__(self, models: Mapping[str, str | Path], limits: Limits, folder: Path) -> None:
        self.models, self.limits, self.folder = dict(models), limits, folder
        self._jobs: dict[str, Job] = {}
        self._restorers: dict[str, Tile] = {}
        self._worker = ThreadPoolExecutor(1, "restore")
        self._writing = threading.Lock()

    def close(self) -> None:
        """Ends the work and deletes all files."""
        for job in list(self._jobs.values()):
            self.forget(job)
        self._worker.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def room(self, model: str) -> None:
        """Whether there is room for one more photograph for this model.

        Raises:
            Refused: no such model, or too many wait.
        """
        self.sweep()
        if model not in self.models:
            raise Refused(f"There is no model called {model!r}: choose one of {', '.join(self.models)}.", 404)
        if sum(job.state == "waiting" for job in self._jobs.values()) >= self.limits.waiting:
            raise Refused(f"{self.limits.waiting} photographs are waiting already: try again in a minute.", 429)

    def add(self, name: str, model: str, upload: Path) -> Job:
        """Puts a photograph into the queue; the file `upload` becomes the queue's own.

        Raises:
            Refused: as `room`.
        """
        self.room(model)
        job = Job(secrets.token_urlsafe(16), _tidy(name), model, self.folder / secrets.token_hex(8))
        job.folder.mkdir(parents=True)
        upload.replace(job.folder / "upload")
        self._jobs[job.id] = job
        self._worker.submit(self._run, job)
        return job

    def find(self, id: str) -> Job:
        """The job of this name, which somebody is thus known to want.

        Raises:
            Refused: there is none, or no longer.
        """
        job = self._jobs.get(id)
        if job is None:
            raise Refused("This photograph is no longer here: choose the file again.", 404)
        job.touched = time.monotonic()
        return job

    def ahead(self, job: Job) -> int:
        """How many photographs come before this one."""
        before = list(self._jobs.values())
        return sum(other.state in ("waiting", "running") for other in before[: before.index(job)])

    def forget(self, job: Job) -> None:
        """Deletes a job's files, at once or, where it is being restored, after the tile that is under way."""
        job.wanted = False
        self._jobs.pop(job.id, None)
        if job.state != "running":
            shutil.rmtree(job.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Forgets what nobody asked for lately, and the oldest of what is too much."""
        now, kept = time.monotonic(), [job for job in self._jobs.values() if job.state in ("done", "failed")]
        kept.sort(key=lambda job: job.touched)
        for i, job in enumerate(kept):
            if now - job.touched > self.limits.keep_s or i < len(kept) - self.limits.kept:
                self.forget(job)

    def download(self, job: Job, strength: float, suffix: str, strip_gps: bool = False) -> Path:
        """The restored photograph as a file, for the caller to delete: `input + strength (x_hat - input)`.

        Raises:
            Refused: it is not restored yet, the strength is outside [0, 1], or the format is not written or too small.
        """
        if job.state != "done":
            raise Refused("This photograph is not restored yet.", 409)
        if suffix not in SUFFIXES:
            raise Refused(f"{suffix or 'No suffix'} is not written here: choose one of {', '.join(SUFFIXES)}.")
        if not 0 <= strength <= 1:
            raise Refused(f"Strength lies between 0 and 1, not {strength}.")
        path = job.folder / f"{secrets.token_hex(8)}{suffix}"
        with self._writing:
            photo = open_photo(job.folder / "upload", job.name)
            known = Observation(y=None, cond={"x_hat": np.load(job.folder / "x_hat.npy", mmap_mode="r")})
            blend = tiled(Strength(Remembered(job.scale), strength), 512)
            try:
                save_photo(path, restore(blend, photo, jax.random.key(0), obs=known), strip_gps=strip_gps)
            except (ValueError, OSError) as error:
                raise Refused(_line(error)) from error
        return path

    def _run(self, job: Job) -> None:
        if not job.wanted:
            return
        job.state = "running"
        try:
            self._restore(job)
            job.state = "done"
        except _Forgotten:
            job.state = "failed"
        except Exception as error:  # whatever it is, the next photograph is not to suffer
            job.error, job.state = _line(error), "failed"
        finally:
            job.touched = time.monotonic()
            if not job.wanted:
                shutil.rmtree(job.folder, ignore_errors=True)

    def _restore(self, job: Job) -> None:
        photo = open_photo(job.folder / "upload", job.name)
        if job.model not in self._restorers:
            self._restorers[job.model] = tiled(load(self.models[job.model]))
        restorer = self._restorers[job.model]
        job.scale = restorer.scale
        job.height, job.width = photo.height * job.scale, photo.width * job.scale
        if job.height * job.width > self.limits.max_megapixels * 1e6:
            raise Refused(
                f"{job.name}: restored it would have {job.height * job.width / 1e6:.0f} megapixels; the limit here is "
                f"{self.limits.max_megapixels:.0f}. Choose a smaller photograph."
            )

        def progress(done: int, total: int) -> None:
            if not job.wanted:
                raise _Forgotten
            job.progress = done / total

        shape = (job.height, job.width, 3)
        x_hat = np.lib.format.open_memmap(job.folder / "x_hat.npy", "w+", np.float32, shape)
        restorer.stream(jax.random.key(0), Rows(photo), ArraySink(x_hat), progress=progress)
        x_hat.flush()
        write(job.folder / "before.jpg", _view(photo.x, shape[:2], job.name))
        write(job.folder / "after.jpg", _view(x_hat, shape[:2], job.name))


def _view(image: Float32[np.ndarray, "h w 3"], size: tuple[int, int], name: str) -> np.ndarray:
    """The picture at `size`, or reduced so that its longer side is VIEW_PX."""
    if not np.isfinite(image).all():
        raise Refused(f"{name}: the model gave values that are no numbers: choose another model.")
    reduce = min(1.0, VIEW_PX / max(size))
    height, width = (max(1, round(side * reduce)) for side in size)
    return np.asarray(Image.fromarray(to_uint8(image)).resize((width, height), Image.Resampling.BICUBIC))


def _tidy(name: str) -> str:
    """The file's own name, without folders and what cannot be shown."""
    name = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    return name[-100:] or "photograph"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
