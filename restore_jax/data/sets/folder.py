"""`Folder`: every photograph below a folder."""

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from restore_jax.photo.read import PhotoError, read, size

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".jp2", ".ppm")


@dataclass(frozen=True)
class Folder:
    """The files below `path` with one of `suffixes` (in either case), in the order of their names.

    A random-access source: `len(s)`, `s[i] -> uint8 h w 3`, `s.names` (below `path`, with `/`), `s.sizes`.
    Hidden files and folders (`.thumbnails`, `._IMG_1.jpg`) are left out. The list is made once: files that
    come later are not seen. With `skip_unreadable` every photograph is decoded on construction, and those
    that fail are named in a warning and left out; without it the first use of a bad file raises.

    Raises:
        FileNotFoundError: the folder is missing.
        NotADirectoryError: `path` is a file.
        ValueError: no photograph below the folder.
        PhotoError: an unreadable photograph, by name, when it is reached.
    """

    path: str
    suffixes: tuple[str, ...] = SUFFIXES
    skip_unreadable: bool = False

    def __post_init__(self):
        if not os.path.exists(self.path):
            raise FileNotFoundError(f"there is no folder {self.path} (looked from {os.getcwd()}).")
        if not os.path.isdir(self.path):
            raise NotADirectoryError(f"{self.path} is a file: give the folder that holds it.")
        if not self.names:
            raise ValueError(f"no readable photograph below {self.path} ends in {', '.join(self.suffixes)}.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Where each photograph lies below `path`."""
        root = Path(self.path)
        wanted = {suffix.lower() for suffix in self.suffixes}
        files = (file.relative_to(root) for file in root.rglob("*") if file.suffix.lower() in wanted)
        shown = (file for file in files if not any(part.startswith(".") for part in file.parts))
        names = sorted(file.as_posix() for file in shown if (root / file).is_file())
        return tuple(filter(self._is_readable, names)) if self.skip_unreadable else tuple(names)

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each, from the headers: about 0.2 ms a photograph, once."""
        return tuple(size(Path(self.path, name)) for name in self.names)

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """Bytes and time of change of each: what differs when a file was replaced."""
        stats = (os.stat(Path(self.path, name)) for name in self.names)
        return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return read(Path(self.path, self.names[index]))

    def _is_readable(self, name: str) -> bool:
        try:
            read(Path(self.path, name))
        except PhotoError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            return False
        return True


EXAMPLES = ()  # needs a folder
