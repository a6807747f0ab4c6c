"""`Cached`: the photographs of another source, decoded once into a file that every later run maps into memory.

    {"name": "data.cache.Cached", "source": {"name": "data.sets.folder.Folder", "path": "photos"}, "folder": "cache"}

For photographs that do not fit `Pipeline.cache_mb`. The pixels lie in one file, a byte each, a photograph after the
other, so that a crop reads its own rows and no more: a record of an ArrayRecord file is read whole, which for a
photograph of 8 MB takes longer than all the rest of the step's input. The operating system keeps what is read often,
once for all processes of a host.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from restore_jax.build import spec_of
from restore_jax.data.pipeline import Source

VERSION = 1  # of the file's layout


@dataclass(frozen=True)
class Cached:
    """`source`, decoded into `folder` on first use: `KEY.pixels` and `KEY.json`, its names, sizes and places.

    The key is a hash of the source's spec, names and, where it has them, `stamps` (what changes when a file does: size
    and time of change), so a photograph that was replaced is decoded anew, with all others, under another key; the old
    files may then be deleted. Preparing shows its progress, goes on where it was stopped, and happens once: other
    processes of the host wait for it. `c[i]` is a read-only view, made in microseconds; disk space is
    `3 h w` bytes a photograph, about ten times that of a JPEG.

    Raises:
        OSError: the disk has no room for the pixels, said before anything is written.
        PhotoError: an unreadable photograph, by name; what was decoded before it is kept for the next attempt.
    """

    source: Source
    folder: str

    @property
    def names(self) -> Sequence[str]:
        """What the photographs are called."""
        return self.source.names

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each, as decoded."""
        return tuple((h, w) for h, w in self._index["sizes"])

    @cached_property
    def key(self) -> str:
        """What the files are called."""
        told = [VERSION, spec_of(self.source), list(self.source.names), list(getattr(self.source, "stamps", ()))]
        return hashlib.sha256(json.dumps(told, default=repr).encode()).hexdigest()[:24]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        number = range(len(self))[index]  # raises the IndexError that ends a loop
        (h, w), start = self._index["sizes"][number], int(self._starts[number])
        return self._pixels[start : start + 3 * h * w].reshape(h, w, 3)

    def _file(self, suffix: str) -> Path:
        return Path(self.folder).expanduser() / (self.key + suffix)

    @cached_property
    def _index(self) -> dict[str, Any]:
        file = self._file(".json")
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self._file(".lock")):
                if not file.exists():  # another process may have made it meanwhile
                    self._prepare()
        return json.loads(file.read_text())

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(3 * h * w for h, w in self._index["sizes"])])

    @cached_property
    def _pixels(self) -> np.ndarray:
        file, wanted = self._file(".pixels"), int(self._starts[-1])
        if not file.exists() or file.stat().st_size != wanted:
            raise OSError(f"{file} is not the {wanted} bytes that its index tells of: delete {self._file('.json')}.")
        return np.asarray(np.memmap(file, np.uint8, "r"))

    def _prepare(self) -> None:
        pixels, sizes = self._file(".pixels.partial"), self._file(".sizes.partial")
        with open(pixels, "ab") as data, open(sizes, "a+") as lines:
            done = _kept(data, lines)
            self._check_room(done)
            numbers = range(len(done), len(self.source))
            for number in tqdm(numbers, "decoding", len(self.source), initial=len(done), unit="photo"):
                photo = np.ascontiguousarray(self.source[number])
                data.write(photo.data)
                data.flush()  # before its line: a line vouches for its pixels
                lines.write(f"{photo.shape[0]} {photo.shape[1]}\n")
                lines.flush()
                done.append(photo.shape[:2])
            os.fsync(data.fileno())
        os.replace(pixels, self._file(".pixels"))
        index = self._file(".json.partial")
        with open(index, "w") as file:
            json.dump({"version": VERSION, "names": list(self.source.names), "sizes": done}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(index, self._file(".json"))  # last: whoever sees the index sees the pixels
        sizes.unlink()

    def _check_room(self, done: list[tuple[int, int]]) -> None:
        sizes = getattr(self.source, "sizes", None)
        wanted = sum(3 * h * w for h, w in (sizes or ())[len(done) :])
        free = shutil.disk_usage(self._file("").parent).free
        if wanted > free:
            raise OSError(
                errno.ENOSPC,
                f"Cached.folder has {free / 1e9:.1f} GB free and the decoded photographs take {wanted / 1e9:.1f} GB: "
                "choose another disk, or train without the cache",
                str(self.folder),
            )


def _kept(data: IO[bytes], lines: IO[str]) -> list[tuple[int, int]]:
    """The sizes of the photographs that an interrupted preparation finished; both files are cut to them."""
    lines.seek(0)
    text, done, end, told = lines.read(), [], 0, 0
    for line in text.splitlines(keepends=True):
        h, w = (int(word) for word in line.split()) if line.count(" ") == 1 and line.endswith("\n") else (0, 0)
        if not h or end + 3 * h * w > data.tell():
            break
        done.append((h, w))
        end, told = end + 3 * h * w, told + len(line)
    data.truncate(end)
    lines.truncate(told)
    data.seek(0, os.SEEK_END)
    lines.seek(0, os.SEEK_END)
    return done


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; where the system has no such lock, all may work, to the same end."""
    with open(path, "w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


EXAMPLES = ()  # needs a folder
