"""Many photographs, one after the other: which file becomes which, who is done, and threads that read and write.

    jobs = jobs_of(["holiday", "*.png"], "out")
    for outcome in overlap(jobs, decode, restore, encode, threads=2): ...

Reading and writing overlap the work between them. What was finished is noted in `.restore_jax.jsonl` of the output
folder, a line a file, so that the same command goes on where it stopped.
"""

import glob
import json
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from restore_jax.photo.decode import RAW
from restore_jax.photo.encode import SUFFIXES

READ = (*SUFFIXES, *RAW, ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".j2k")  # what is taken out of a folder
JOURNAL = ".restore_jax.jsonl"
STREAM = "-"


@dataclass(frozen=True)
class Job:
    """A file and what it becomes; None is the standard input or output. `error` says why it cannot be done."""

    source: Path | None
    target: Path | None
    error: str = ""

    @property
    def name(self) -> str:
        """How messages call it."""
        return "standard input" if self.source is None else str(self.source)


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with what `encode` answered, or with an error of one line."""

    job: Job
    value: Any = None
    error: str = ""


class Stopped(Exception):
    """Somebody asked to stop; what is being written is finished."""


def jobs_of(inputs: Sequence[str], output: str, suffix: str = "", kind: str = "") -> list[Job]:
    """What is to be done: files, folders with all that lies in them, patterns; `-` is the standard input or output.

    One file goes into `output` if that has the suffix of a format that is written; all else goes into the folder
    `output`, in the folders it had (several folders each in one of its own name), under its own name with `suffix`
    added, as `kind` ("png") or in its own format: camera raw as TIFF, and what is only read as PNG. Two files of one
    name, and a file that would replace itself, are jobs with an error.

    Raises:
        ValueError: `-` beside other inputs or without `kind`, or an unknown kind.
    """
    if kind and f".{kind.lower()}" not in SUFFIXES:
        raise ValueError(f"jobs_of.kind is one of {', '.join(s[1:] for s in SUFFIXES)}, not {kind!r}.")
    if STREAM in inputs and len(inputs) > 1:
        raise ValueError("jobs_of.inputs: the standard input, -, comes alone.")
    if output == STREAM and not kind:
        raise ValueError("jobs_of.kind: the standard output has no suffix; say which format: --format png.")
    if inputs == [STREAM]:
        if output != STREAM and Path(output).suffix.lower() not in SUFFIXES:
            raise ValueError(f"jobs_of.output: what comes by the standard input goes into a file or -, not {output}.")
        return [Job(None, None if output == STREAM else Path(output))]
    several = sum(Path(one).is_dir() for one in inputs) > 1
    files = [pair for one in inputs for pair in _found(one, Path(output), several)]
    if output == STREAM:
        if len(files) != 1:
            raise ValueError(f"jobs_of.output: the standard output, -, takes one photograph, not {len(files)}.")
        return [Job(files[0][0], None)]
    whole = Path(output)
    into_file = len(files) == 1 and not any(Path(one).is_dir() for one in inputs)
    if into_file and whole.suffix.lower() in SUFFIXES and not whole.is_dir():
        return _sound([Job(files[0][0], whole)])
    return _sound([Job(path, whole / inside.with_name(_named(inside, suffix, kind))) for path, inside in files])


def _found(one: str, output: Path, several: bool) -> Iterator[tuple[Path, Path]]:
    """The files of an input, and where they go inside the output folder: of several folders each into its own."""
    path = Path(one)
    if path.is_dir():
        own = output.resolve()
        above = Path(path.resolve().name) if several else Path()
        inside_out = own != path.resolve() and own.is_relative_to(path.resolve())
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.suffix.lower() not in READ or hidden or not file.is_file():
                continue
            if not (inside_out and file.resolve().is_relative_to(own)):  # what was restored is not restored again
                yield file, above / file.relative_to(path)
    elif not path.exists() and glob.has_magic(one):
        for match in sorted(glob.glob(one, recursive=True)):
            if Path(match).is_file():
                yield Path(match), Path(Path(match).name)
    else:
        yield path, Path(path.name)


def _named(path: Path, suffix: str, kind: str) -> str:
    own = path.suffix.lower()
    raw = own in RAW and own != ".dng"
    ending = f".{kind.lower()}" if kind else path.suffix if own in SUFFIXES else ".tif" if raw else ".png"
    return f"{path.stem}{suffix}{ending}"


def _sound(jobs: list[Job]) -> list[Job]:
    taken: dict[Path, Job] = {}
    sound = []
    for job in jobs:
        assert job.target is not None
        place = job.target.absolute()
        first = taken.setdefault(place, job)
        if first is not job:
            job = replace(job, error=f"{job.name}: {job.target} is already {first.name}'s: rename one of them.")
        elif job.source is not None and place.exists() and job.source.exists() and place.samefile(job.source):
            job = replace(job, error=f"{job.name}: it would replace itself: give another folder, or --suffix.")
        sound.append(job)
    return sound


# ---------------------------------------------------------------------------------------------
# Who is done
# ---------------------------------------------------------------------------------------------


class Journal:
    """What was begun and finished in a folder, by which settings, from which source: lines of `.restore_jax.jsonl`.

    A file is "done" if it was finished with the same settings from a source of the same size and time, and has the size
    that it had then; "ours" if it was begun here, or does not exist; "foreign" if it exists and no line speaks of it. A
    line that was cut short by a crash is passed over: its file is done again.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder, self.settings, self.lock = folder, settings, threading.Lock()
        self.entries: dict[str, dict[str, Any]] = {}
        path = folder / JOURNAL
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
                self.entries[entry["file"]] = entry
            except (json.JSONDecodeError, KeyError, TypeError):
                continue

    def state(self, job: Job) -> str:
        """ "done", "ours" or "foreign"."""
        if job.target is None or not job.target.exists():
            return "ours"
        entry = self.entries.get(self._name(job))
        if entry is None:
            return "foreign"
        same = {name: entry.get(name) for name in ("settings", "source", "bytes")}
        return "done" if same == self._entry(job) else "ours"

    def begin(self, job: Job) -> None:
        """That the file is about to be written."""
        self._add(job, {})

    def done(self, job: Job) -> None:
        """That the file is whole."""
        self._add(job, self._entry(job))

    def _entry(self, job: Job) -> dict[str, Any]:
        assert job.target is not None
        stat = None if job.source is None or not job.source.exists() else job.source.stat()
        source = None if stat is None else [stat.st_size, stat.st_mtime_ns]
        return {"settings": self.settings, "source": source, "bytes": job.target.stat().st_size}

    def _add(self, job: Job, entry: dict[str, Any]) -> None:
        entry = {"file": self._name(job), **entry}
        with self.lock:
            self.entries[entry["file"]] = entry
            path = self.folder / JOURNAL
            torn = path.is_file() and path.stat().st_size > 0 and _last_byte(path) != b"\n"
            with open(path, "ab") as out:
                out.write(f"{chr(10) if torn else ''}{json.dumps(entry)}\n".encode())
                out.flush()
                os.fsync(out.fileno())

    def _name(self, job: Job) -> str:
        return Path(os.path.relpath(job.target or "", self.folder)).as_posix()


def _last_byte(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


# ---------------------------------------------------------------------------------------------
# Threads
# ---------------------------------------------------------------------------------------------


class Stop:
    """While it is entered, the first Ctrl-C asks to stop, and the second does it at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Stop":
        self.ours = threading.current_thread() is threading.main_thread()
        if self.ours:
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, self.before)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def check(self) -> None:
        """Does nothing, or stops.

        Raises:
            Stopped: it was asked for.
        """
        if self.asked:
            raise Stopped


def overlap(
    jobs: Iterable[Job],
    decode: Callable[[Job], Any],
    restore: Callable[[Job, Any], Any],
    encode: Callable[[Job, Any], Any],
    threads: int = 2,
    stop: Stop | None = None,
) -> Iterator[Outcome]:
    """How each job ended, in order: `encode(job, restore(job, decode(job)))`.

    `restore` runs in the caller's thread, one job at a time; as many jobs as `threads` are decoded ahead of it, and as
    many are encoded behind. An error of any of the three ends its job and no other. After `Stopped`, what has been
    restored is written, and the jobs that are left have no outcome.

    Raises:
        ValueError: threads is below 1.
    """
    if threads < 1:
        raise ValueError(f"overlap.threads must be at least 1, not {threads}.")
    left, ahead, behind = iter(jobs), deque[tuple[Job, Future]](), deque[tuple[Job, Future]]()
    with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(threads) as writers:
        try:
            while True:
                while len(ahead) < threads and (job := next(left, None)) is not None:
                    ahead.append((job, readers.submit(_decoded, decode, job)))
                if not ahead:
                    break
                job, future = ahead.popleft()
                try:
                    if stop is not None:
                        stop.check()
                    restored = restore(job, future.result())
                except Stopped:
                    break
                except Exception as error:
                    yield Outcome(job, error=_line(job, error))
                else:
                    behind.append((job, writers.submit(encode, job, restored)))
                    del restored
                del future  # and with it the photograph
                while behind and (len(behind) > threads or behind[0][1].done()):
                    yield _ended(*behind.popleft())
        finally:
            for _, future in ahead:
                future.cancel()
        while behind:
            yield _ended(*behind.popleft())


def _decoded(decode: Callable[[Job], Any], job: Job) -> Any:
    if job.error:
        raise ValueError(job.error)
    return decode(job)


def _ended(job: Job, future: Future) -> Outcome:
    try:
        return Outcome(job, future.result())
    except Exception as error:
        return Outcome(job, error=_line(job, error))


def _line(job: Job, error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if str(job.source) in said or str(job.target) in said else f"{job.name}: {said}"


class Behind:
    """A sink (`infer.bands.Sink`) whose work is done in a thread of its own, a few bands behind.

    `with Behind(sink) as out: out.write(rows)`; rows are copied. An error of the sink is raised by the next `write`, or
    at the end.
    """

    def __init__(self, sink: Any, rows: int = 64) -> None:
        self.sink, self.band, self.error = sink, rows, None
        self.bands: queue.Queue[np.ndarray | None] = queue.Queue(8)
        self.thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Behind":
        self.thread.start()
        return self

    def write(self, rows: Float32[np.ndarray, "n w c"]) -> None:
        """The next rows."""
        for top in range(0, len(rows), self.band):
            if self.error is not None:
                raise self.error
            self.bands.put(rows[top : top + self.band].copy())

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.bands.put(None)
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error

    def _work(self) -> None:
        while (rows := self.bands.get()) is not None:
            if self.error is None:
                try:
                    self.sink.write(rows)
                except BaseException as error:
                    self.error = error
