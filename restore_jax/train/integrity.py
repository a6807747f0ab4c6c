"""Whether the bytes of a checkpoint are those that were written: one manifest of SHA-256 sums for each step.

    checkpoints/<step>/                  what Orbax wrote
    checkpoints/manifests/<step>.json    sizes and sums of all its files, and of itself; written after everything else

A step without a manifest is one whose saving was cut off: it is no checkpoint. A step whose bytes differ from its
manifest is damaged, and the files that differ are named.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFESTS = "manifests"

# The words of those who write for us and do not raise OSError.
_DISK = ("No space left", "RESOURCE_EXHAUSTED", "quota exceeded", "File too large")
_DISK += ("Permission denied", "PERMISSION_DENIED", "permission denied")


class DamageError(RuntimeError):
    """Bytes that are not those written; the message names the file."""


@dataclass(frozen=True)
class Manifest:
    """What is known of one checkpoint: its files, the numbers it was saved with, the code and the state's layout.

    `files` maps a path in the step's folder to `"size sha256"`; `tree` maps the path of a leaf to its type and shape,
    `"float32[3,3,4,8]"`, and is empty where it is not known.
    """

    step: int
    files: Mapping[str, str]
    values: Mapping[str, float]
    version: str
    tree: Mapping[str, str]

    def write(self, directory: Path) -> None:
        """The manifest to `directory`, whole or not at all; it holds its own sum."""
        written = asdict(self)
        path = manifest_path(directory, self.step)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"manifest": written, "sha256": _sum_of(written)}, separators=(",", ":")))

    @classmethod
    def read(cls, directory: Path, step: int) -> "Manifest":
        """The manifest of a step.

        Raises:
            DamageError: it is not there, or not as it was written.
        """
        path = manifest_path(directory, step)
        try:
            record = json.loads(path.read_bytes())
            if record["sha256"] != _sum_of(record["manifest"]):
                raise ValueError("its checksum is another")
            return cls(**record["manifest"])
        except FileNotFoundError:
            raise DamageError(f"{MANIFESTS}/{path.name} is missing") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DamageError(f"{MANIFESTS}/{path.name} is not as it was written") from error


def manifest_path(directory: Path, step: int) -> Path:
    """Where the manifest of `step` is."""
    return directory / MANIFESTS / f"{step}.json"


def steps(directory: Path) -> list[int]:
    """The steps in `directory` that have a manifest, oldest first."""
    names = [path.stem for path in (directory / MANIFESTS).glob("*.json")]
    return sorted(int(name) for name in names if name.isdigit())


def unsealed(directory: Path) -> list[int]:
    """The steps in `directory` that Orbax finished and no manifest vouches for, oldest first."""
    if not directory.is_dir():
        return []
    sealed = set(steps(directory))
    found = [int(path.name) for path in directory.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(step for step in found if step not in sealed)


def sums(folder: Path) -> dict[str, str]:
    """`"size sha256"` of each file below `folder`, by its path in it; every byte is read once."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with _pool() as pool:
        return {path.relative_to(folder).as_posix(): one for path, one in zip(paths, pool.map(_sum, paths))}


def damage(directory: Path, step: int) -> list[str]:
    """What is wrong with a step, each sentence naming its file; nothing if every byte is as it was written."""
    try:
        expected = Manifest.read(directory, step).files
    except DamageError as error:
        return [str(error)]
    folder = directory / str(step)
    with _pool() as pool:
        wrongs = pool.map(lambda item: _wrong(folder / item[0], item[1]), expected.items())
        return [f"{step}/{name} {wrong}" for name, wrong in zip(expected, wrongs) if wrong]


def newest_whole(directory: Path) -> tuple[int | None, dict[int, list[str]]]:
    """The newest step whose bytes are whole, and what is wrong with each newer one. Reads no more than it must."""
    damaged: dict[int, list[str]] = {}
    for step in reversed(steps(directory)):
        wrong = damage(directory, step)
        if not wrong:
            return step, damaged
        damaged[step] = wrong
    return None, damaged


def remove(directory: Path, step: int) -> None:
    """Takes a step away, its manifest first: cut off in between, it is no checkpoint any more."""
    manifest_path(directory, step).unlink(missing_ok=True)
    shutil.rmtree(directory / str(step), ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """`text` to `path`, on the disk when this returns; a crash in between leaves what was there before."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_disk_trouble(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, says that the disk is full or may not be written."""
    while error is not None:
        if isinstance(error, OSError) or any(word in str(error) for word in _DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name, without the full stop."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split(" [")[0].rstrip(".")  # TensorStore adds a page of what it was asked


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))  # hashing gives up Python's lock


def _wrong(path: Path, known: str) -> str:
    """What is wrong with a file, or ""; one of another size is not read."""
    try:
        size, written = path.stat().st_size, int(known.split()[0])
        if size != written:
            return f"is not as it was written ({size} bytes; {written} were written)"
        return "" if _sum(path) == known else "is not as it was written (its checksum is another)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return f"{os.fstat(file.fileno()).st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _sum_of(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
