"""Stored pairs: photographs and what was observed of them, file beside file; and the photographs that a list names.

Set5/HR/baby.png                     Set5/LR_bicubic/X4/babyx4.png               match = "{}x4"
BSD100/original_jpg/101085.jpg       BSD100/LR_bicubic/X4/img_001_SRF_4_LR.png   match = "{}_SRF_4_LR", and an index
Set14/HR/baboon.png                  Set14/LR_bicubic/X4/img_001_SRF_4_LR.png    match = "": in the order of names
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from restore_jax.data.sets.folder import Folder
from restore_jax.photo.read import read

Picture = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Listed:
    """The photographs of a folder that a text file names, a line each, without suffix; in its order.

    Of a line with two names the second is the file's, and the first what it is called. A random-access source as
    `Folder`.

    Raises:
        FileNotFoundError: the folder or the index is missing.
        ValueError: the index names a photograph that is not there.
    """

    path: str
    index: str

    def __post_init__(self) -> None:
        absent = [file for _, file in self._lines if file not in self._files]
        if absent or not self._lines:
            raise ValueError(
                f"{self.index} names {', '.join(absent[:3]) or 'nothing'}, not to be found in {self.path}."
            )

    @cached_property
    def _lines(self) -> list[tuple[str, str]]:
        words = [line.split() for line in Path(self.index).read_text().splitlines()]
        return [(line[0], line[-1]) for line in words if line]

    @cached_property
    def _files(self) -> dict[str, Path]:
        return _by_stem(self.path)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the index calls each."""
        return tuple(name for name, _ in self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Picture:
        return read(self._files[self._lines[index][1]])


@dataclass(frozen=True)
class Pairs:
    """Observations in the folder `observed` of the photographs in the folder `clean`, which are `scale` times as large.

    A source of pairs: `len(s)`, `s[i] -> (y, x)`, both uint8 `h w 3`, `s.names`. `match` makes the name of the observed
    file, without suffix, of the name of the photograph, `{}`; an empty one pairs the files in the order of their names.
    With an `index` (see `Listed`) the photographs and their names are those in it. A photograph loses the rows and
    columns, fewer than `scale`, that its observation does not show, below and on the right.

    Raises:
        FileNotFoundError: a folder or the index is missing.
        ValueError: a photograph without its observation, or, when it is reached, one of another size.
    """

    clean: str
    observed: str
    match: str = "{}"
    scale: int = 1
    index: str = ""

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"Pairs.scale must be a whole number from 1, not {self.scale}.")
        if self.match and "{}" not in self.match:
            raise ValueError(f'Pairs.match must hold {{}}, the name of the photograph, or be "", not {self.match!r}.')
        if not self.match and len(self._observed) != len(self.names):
            raise ValueError(
                f"{len(self.names)} photographs in {self.clean} and {len(self._observed)} observations in "
                f"{self.observed} do not pair in order: say how their names do with Pairs.match."
            )
        alone = [name for name in self.names if self._partner(name) not in self._observed]
        if alone:
            raise ValueError(f"{self.observed} lacks {self._partner(alone[0])!r}, and {len(alone) - 1} more.")

    @cached_property
    def _observed(self) -> dict[str, Path]:
        return _by_stem(self.observed)

    @cached_property
    def _photographs(self) -> Listed | Folder:
        return Listed(self.clean, self.index) if self.index else Folder(self.clean)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the photographs, without suffix."""
        return tuple(
            name if self.index else str(PurePosixPath(name).with_suffix("")) for name in self._photographs.names
        )

    def _partner(self, name: str) -> str:
        return self.match.format(name) if self.match else list(self._observed)[self.names.index(name)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Picture, UInt8[np.ndarray, "H W 3"]]:
        file = self._observed[self._partner(self.names[index])]
        y, x = read(file), self._photographs[index]
        return y, shown(x, y, self.scale, self.names[index], file)


def shown(x: Picture, y: UInt8[np.ndarray, "u v 3"], scale: int, name: str, file: Path) -> UInt8[np.ndarray, "H W 3"]:
    """The part of a photograph, `name`, that its observation in `file` shows, `scale` times as large.

    Raises:
        ValueError: the sizes differ by more than a reduction leaves out.
    """
    h, w = (side * scale for side in y.shape[:2])
    if not (h <= x.shape[0] < h + scale and w <= x.shape[1] < w + scale):
        raise ValueError(
            f"{file} is {y.shape[0]}x{y.shape[1]} and {name} {x.shape[0]}x{x.shape[1]}: "
            f"a photograph is {scale} times as large as its observation, up to {scale - 1} pixels."
        )
    return x[:h, :w]


def _by_stem(folder: str) -> dict[str, Path]:
    photographs = Folder(folder)
    return {str(PurePosixPath(name).with_suffix("")): Path(folder, name) for name in photographs.names}


EXAMPLES = ()  # needs folders
