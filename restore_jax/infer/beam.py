"""Folders of millions of photographs, on Apache Beam: one restorer a worker, outputs that are written once.

    OUT/NAME                            the restored photograph, under the name of the original
    OUT/.restore_jax/done/NAME.json     what it was made of: the hash of the settings, size and date of the original
    OUT/dead_letters.jsonl              what could not be restored, and why: {"file": ..., "error": ...}

A photograph is done when its note says so and the output is there: a second run does nothing, and a run that was killed
goes on where it stopped. Outputs are written under another name and renamed, and the note comes last, so that work that
Beam repeats (retries, speculative copies) gives the same files. All files go through Beam's file systems (local, gs://,
s3://, hdfs://); the model is a path on every worker.

Nothing of Beam is imported before a pipeline is run.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import posixpath
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from restore_jax import __version__
from restore_jax.infer.load import load
from restore_jax.infer.restoration import TILE_PX, restore, tiled
from restore_jax.infer.strength import Strength
from restore_jax.infer.tile import Say, Tile, to_stderr
from restore_jax.methods.model import flat, is_model, read_model
from restore_jax.photo.photo import SUFFIXES, Photo, open_photo, save_photo
from restore_jax.train.checkpoint import read as read_checkpoint

NOTES, DEAD_LETTERS = ".restore_jax", "dead_letters.jsonl"
COUNTS = ("done", "skipped", "failed", "pixels")
PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
MISSING = (
    'Scaling out needs Apache Beam: pip install "restore-jax[beam]" (in an environment of its own, see docs/beam.md).'
)
_LOCK = threading.RLock()


@dataclass(frozen=True)
class Settings:
    """How photographs are restored; whatever changes an output is in `hash`.

    Args:
        model: the workdir of a run or an imported model, a path on every worker.
        model_hash: of its numbers (`model_hash(model)`), so that a model that was trained further restores again.
        output: the folder of the outputs, on any of Beam's file systems.
        root: the part of the names that outputs do without, ending in a slash; "" keeps it all.
        tile_px, overlap_px: as in `infer.restoration.tiled`.
        strength: as in `infer.strength.Strength`.
        seed: of the samplers that draw.
        suffix: of the outputs (".png"); "" keeps that of the original where it can be written, else ".tif".
        tries: how often reading or writing a file is tried while its file system fails.
        delay_s: before the second try; each further one waits twice as long.

    Raises:
        ValueError: a number outside its range, or a suffix that is not written.
    """

    model: str
    model_hash: str
    output: str
    root: str = ""
    tile_px: int = TILE_PX
    overlap_px: int | None = None
    strength: float = 1.0
    seed: int = 0
    suffix: str = ""
    tries: int = 4
    delay_s: float = 1.0

    def __post_init__(self) -> None:
        if self.suffix and self.suffix not in SUFFIXES:
            raise ValueError(f"Settings.suffix is one of {', '.join(SUFFIXES)}, not {self.suffix}.")
        if self.tile_px < 1:
            raise ValueError(f"Settings.tile_px must be at least 1, not {self.tile_px}.")
        if self.tries < 1:
            raise ValueError(f"Settings.tries must be at least 1, not {self.tries}.")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"Settings.strength lies in [0, 1], not {self.strength}.")

    @property
    def hash(self) -> str:
        """Of what an output depends on besides the original: model, tiles, strength, seed, format and version."""
        idle = ("model", "output", "root", "tries", "delay_s")
        what = {name: value for name, value in asdict(self).items() if name not in idle}
        return hashlib.sha256(json.dumps({**what, "restore_jax": __version__}, sort_keys=True).encode()).hexdigest()

    def place(self, name: str) -> str:
        """Where the output of an original lies below `output`: its own name, so that no two originals share one.

        Another suffix is added and not put in place of the old one: `a.jpg` and `a.cr2` would meet in `a.png`.
        """
        if self.root and name.startswith(self.root):
            inside = name[len(self.root) :]
        elif "://" in name:
            inside = name.replace("://", "/", 1)
        else:
            inside = os.path.abspath(name)
        inside = posixpath.normpath(inside.replace(os.sep, "/")).lstrip("/")
        has = posixpath.splitext(inside)[1].lower()
        wanted = self.suffix or (has if has in SUFFIXES and has != ".dng" else ".tif")
        return inside if has == wanted else inside + wanted


def model_hash(model: str | Path) -> str:
    """The hash of a model's numbers and of the method that they are for.

    Raises:
        CheckpointError: neither a checkpoint nor a model is there.
        ModelError: the model is damaged.
    """
    if is_model(model):
        found = read_model(model)
        method, params = found.method, found.params
    else:
        config, state, _ = read_checkpoint(model)
        method, params = config["method"], state["ema"]
    digest = hashlib.sha256(json.dumps(method, sort_keys=True, default=str).encode())
    for name, leaf in sorted(flat(params).items()):
        digest.update(name.encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1)
def _restorer(model: str, digest: str, tile_px: int, overlap_px: int | None, strength: float) -> Tile:
    """The restorer of this process, for all of its threads; one lock makes it, and lets one photograph in at a time."""
    if model_hash(model) != digest:
        raise ValueError(f"{model} on this worker is not the model that the pipeline was started with: copy it again.")
    return tiled(Strength(load(model), strength), tile_px, overlap_px)


@dataclass(frozen=True)
class Restore:
    """What a worker does with a name: the restored photograph is written; answers its dead letter, if it is one."""

    settings: Settings

    def __call__(self, name: str) -> Iterator[str]:
        """Nothing, or one line of JSON that says why there is no output."""
        from apache_beam.metrics import Metrics

        count = {what: Metrics.counter("restore_jax", what) for what in COUNTS}
        restorer = self.restorer()  # outside `try`: a worker without its model fails, not its photographs
        try:
            pixels = self.written(restorer, name)
        except Exception as error:
            logging.getLogger(__name__).warning("%s could not be restored.", name, exc_info=True)
            count["failed"].inc()
            yield json.dumps({"file": name, "error": " ".join(str(error).split()) or type(error).__name__})
            return
        count["done" if pixels else "skipped"].inc()
        count["pixels"].inc(pixels)

    def restorer(self) -> Tile:
        """That of the process; made by the first who asks."""
        s = self.settings
        with _LOCK:
            return _restorer(s.model, s.model_hash, s.tile_px, s.overlap_px, s.strength)

    def written(self, restorer: Tile, name: str) -> int:
        """Restores one photograph; answers the pixels of the output, 0 where it is done already.

        Raises:
            OSError: the file is missing, or its file system failed `tries` times.
            PhotoError: damaged, or not a photograph.
            ValueError: the restorer gave NaN, or the format cannot hold the output.
        """
        files, place = Files(self.settings.tries, self.settings.delay_s), self.settings.place(name)
        output = posixpath.join(self.settings.output, place)
        note = posixpath.join(self.settings.output, NOTES, "done", f"{place}.json")
        state = json.dumps({"settings": self.settings.hash, "original": files.state(name)}, sort_keys=True).encode()
        if files.content(note, b"") == state and files.exists(output):
            return 0
        photo = open_photo(files.content(name), name)
        with _LOCK:
            restored = restore(restorer, photo, jax.random.key(self.settings.seed))
        draft = posixpath.join(self.settings.output, NOTES, "drafts")
        files.write(output, encoded(restored, posixpath.splitext(output)[1]), draft)
        files.write(note, state, draft)
        return restored.height * restored.width


def encoded(photo: Photo, suffix: str) -> bytes:
    """The photograph as the content of a file of this suffix."""
    with tempfile.TemporaryDirectory() as folder:
        save_photo(Path(folder) / f"photo{suffix}", photo)
        return (Path(folder) / f"photo{suffix}").read_bytes()


@dataclass(frozen=True)
class Files:
    """Beam's file systems, tried again a bounded number of times while they fail."""

    tries: int
    delay_s: float

    def _tried(self, what: Callable[..., Any], *args: Any) -> Any:
        from apache_beam.utils import retry

        again = retry.with_exponential_backoff(self.tries - 1, self.delay_s, retry_filter=transient)
        return again(what)(*args)

    def exists(self, path: str) -> bool:
        """Whether something is there."""
        from apache_beam.io.filesystems import FileSystems

        return self._tried(FileSystems.exists, path)

    def state(self, path: str) -> list[float]:
        """Bytes and date of a file: it changed if they did.

        Raises:
            FileNotFoundError: there is none.
        """
        from apache_beam.io.filesystems import FileSystems

        if not self.exists(path):
            raise FileNotFoundError(f"{path}: no such file. Check the list.")
        about = self._tried(FileSystems.get_filesystem(path).metadata, path)
        return [about.size_in_bytes, about.last_updated_in_seconds]

    def content(self, path: str, default: bytes | None = None) -> bytes:
        """What a file holds; where there is none, `default`."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        def read() -> bytes:
            with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                return file.read()

        return default if default is not None and not self.exists(path) else self._tried(read)

    def write(self, path: str, content: bytes, drafts: str) -> None:
        """A file, whole or not at all: a draft in the folder `drafts`, which then takes its name."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        def attempt() -> None:
            draft = posixpath.join(drafts, uuid.uuid4().hex)
            with FileSystems.create(draft, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(content)
                if "://" not in path:
                    file.flush()
                    os.fsync(file.fileno())  # else a power cut may keep the name and lose the bytes
            with contextlib.suppress(OSError):  # it is there already; if it is not, renaming fails
                FileSystems.mkdirs(posixpath.dirname(path))
            FileSystems.rename([draft], [path])

        self._tried(attempt)


def transient(error: Exception) -> bool:
    """Whether to try again: what a file system says, unless it says that the file is missing or forbidden."""
    causes = [error, *(getattr(error, "exception_details", None) or {}).values()]
    return isinstance(error, OSError) and not any(isinstance(cause, PERMANENT) for cause in causes)


def root_of(pattern: str) -> str:
    """The folder before a pattern's first wildcard, with its slash."""
    fixed = min((pattern.find(c) for c in "*?[" if c in pattern), default=len(pattern))
    return pattern[: pattern.rfind("/", 0, fixed) + 1]


def scale_out(
    settings: Settings,
    source: str,
    runner: str = "DirectRunner",
    options: Sequence[str] = (),
    restarts: int = 2,
    say: Say = to_stderr,
) -> dict[str, int]:
    """Restores what `source` names (a pattern, or a list of names that ends in .txt) and answers how many of each.

    `{"done", "skipped", "failed", "pixels"}`, as the runner counted them in the run that came to its end. Beam's own
    runner on this machine gives up when a worker dies; it is then started again, `restarts` times, and does not repeat
    what is done. Other runners see to that themselves.

    Raises:
        ImportError: apache-beam is not installed.
        ValueError: the pattern matches nothing, or the list is missing.
        RuntimeError: the pipeline failed.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError(MISSING) from error
    from apache_beam.io.fileio import MatchFiles
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    files, listed = Files(settings.tries, settings.delay_s), source.endswith(".txt")
    if listed and not files.exists(source):
        raise ValueError(f"{source}: no such list of names.")
    if not listed and not FileSystems.match([source], limits=[1])[0].metadata_list:
        raise ValueError(f"{source} matches no file: quote the pattern, so that the shell leaves it alone.")
    # "DirectRunner" would fetch a runner in Go from GitHub first; this is the one in Python that it falls back to.
    local = runner in ("DirectRunner", "FnApiRunner")
    parsed = PipelineOptions([f"--runner={'FnApiRunner' if local else runner}", *options])
    below = posixpath.join(settings.output, "")

    def run() -> dict[str, int]:
        pipeline = beam.Pipeline(options=parsed)
        if listed:
            names = pipeline | "Read the list" >> beam.io.ReadFromText(source) | beam.Map(str.strip) | beam.Filter(bool)
        else:
            names = pipeline | "Match" >> MatchFiles(source) | "Name" >> beam.Map(lambda found: found.path)
        _ = (
            names
            | "Leave out outputs" >> beam.Filter(lambda name: not name.startswith(below))
            | "Once each" >> beam.Distinct()
            | "Share out" >> beam.Reshuffle()
            | "Restore" >> beam.FlatMap(Restore(settings))
            | "Dead letters"
            >> beam.io.WriteToText(posixpath.join(settings.output, DEAD_LETTERS), num_shards=1, shard_name_template="")
        )
        result = pipeline.run()
        state = result.wait_until_finish()
        if state != "DONE":
            raise RuntimeError(f"the pipeline ended as {state}: look into the runner's log.")
        found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace("restore_jax"))["counters"]
        counted = {counter.key.metric.name: counter.result for counter in found}
        return {what: int(counted.get(what, 0)) for what in COUNTS}

    for left in range(restarts if local else 0, -1, -1):
        try:
            counts = run()
            break
        except Exception as error:
            said = " ".join(str(error).split())[-300:]
            if not left:
                raise RuntimeError(
                    f"the pipeline failed, and goes on where it stopped if started again: {said}"
                ) from error
            say(f"The pipeline stopped, a worker may have died; going on with what is not done ({said}).")
    drafts = FileSystems.match([posixpath.join(settings.output, NOTES, "drafts", "*")])[0].metadata_list
    if drafts:  # of workers that died
        FileSystems.delete([found.path for found in drafts])
    return counts
