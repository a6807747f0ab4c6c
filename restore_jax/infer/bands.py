"""Photographs as rows that come and go: what gives them, what takes them, and the few that are held between.

    source   shape (h, w, c) and rows(top, bottom), asked for in order, each row once
    sink     write(rows), float32, in order; whether its file is whole or absent is the sink's matter

An array is a source, a `numpy.memmap` included. Levels become float32 in [0, 1] tile by tile, not picture by picture.
"""

import math
import mmap
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Shaped

STEP = 64  # rows that are rounded at a time, so that no second picture in float32 is made


@runtime_checkable
class Source(Protocol):
    """Gives a photograph's rows, from the first to the last."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, channels."""
        ...

    def rows(self, top: int, bottom: int) -> Any:
        """Rows top to bottom - 1: uint8, uint16, or float in [0, 1]."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes a photograph's rows, from the first to the last."""

    def write(self, rows: Any) -> None:
        """The next rows, float32."""
        ...


class ArraySource:
    """The rows of an array `h w c`."""

    def __init__(self, array: Shaped[np.ndarray, "h w c"]) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array."""
        return self.array.shape

    def rows(self, top: int, bottom: int) -> Shaped[np.ndarray, "n w c"]:
        """A view of them."""
        return self.array[top:bottom]


class ArraySink:
    """Writes rows into an array `h w c`: integers take the nearest of their levels, halves upwards, clipped."""

    def __init__(self, array: Shaped[np.ndarray, "h w c"]) -> None:
        self.array, self.filled = array, 0

    def write(self, rows: Float32[np.ndarray, "n w c"]) -> None:
        """The next rows."""
        for first in range(0, len(rows), STEP):
            some = rows[first : first + STEP]
            self.array[self.filled : self.filled + len(some)] = to_levels(some, self.array.dtype)
            self.filled += len(some)


def to_levels(rows: Float32[np.ndarray, "n w c"], dtype: Any) -> Shaped[np.ndarray, "n w c"]:
    """`floor(top x + 1/2)` of x clipped to [0, 1] for integers whose largest is `top`; floats as they are.

    Raises:
        ValueError: NaN has no level.
    """
    if np.issubdtype(dtype, np.floating):
        return rows.astype(dtype)
    if np.isnan(rows).any():
        raise ValueError("the picture holds NaN: look for what made them; they have no colour.")
    top = np.iinfo(dtype).max
    return np.floor(np.clip(rows, 0.0, 1.0) * np.float32(top) + np.float32(0.5)).astype(dtype)


def to_float(rows: Shaped[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Levels over the largest one of their type; floats as they are."""
    out = rows.astype(np.float32)
    if np.issubdtype(rows.dtype, np.integer):
        out /= np.float32(np.iinfo(rows.dtype).max)
    return out


def mapped(shape: tuple[int, ...], dtype: Any) -> Shaped[np.ndarray, "..."]:
    """Zeros in memory of their own, which goes back to the system with them.

    In the heap, buffers that live as long as a photograph lie between the pieces that XLA takes for each tile and gives
    back; pieces that then no longer fit make the process grow with every band.
    """
    count = math.prod(shape)
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(dtype).itemsize), dtype, count).reshape(shape)


def mirrored(size: int, multiple: int) -> Int[np.ndarray, " n"]:
    """Indices 0 .. size - 1, continued by their mirror image, edge repeated, to a multiple."""
    return np.pad(np.arange(size), (0, -size % multiple), mode="symmetric")


def straight(indices: Int[np.ndarray, " n"]) -> slice | Int[np.ndarray, " n"]:
    """Indices of `mirrored` as a slice, which copies nothing, where none of them is of the mirror image."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first == len(indices) - 1 else indices


class Window:
    """A source of which only the latest rows are held, continued by its mirror image to multiples of `unit`."""

    def __init__(self, source: Any, unit: int) -> None:
        self.source = source if isinstance(source, Source) else ArraySource(np.asarray(source))
        self.size = self.source.shape
        self._rows, self._cols = mirrored(self.size[0], unit), mirrored(self.size[1], unit)
        self._held: np.ndarray | None = None
        self._top = self._bottom = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """The size after continuation."""
        return len(self._rows), len(self._cols), self.size[2]

    def need(self, top: int, bottom: int) -> None:
        """Makes rows top to bottom - 1 available, and forgets what lies before them."""
        wanted = self._rows[top:bottom]
        low, high = int(wanted.min()), int(wanted.max()) + 1
        low = min(low, int(self._rows[len(self._rows) - 1]))  # the mirror image is made of the last rows
        low = max(low, self._top)
        kept = self._bottom - low
        if high > self._bottom:
            new = np.asarray(self.source.rows(self._bottom, high))
            if self._held is None or len(self._held) < kept + len(new):
                larger = mapped((kept + len(new), *new.shape[1:]), new.dtype)
                if self._held is not None:
                    larger[:kept] = self._held[low - self._top : low - self._top + kept]
                self._held = larger
            elif low > self._top:  # in place, so that the heap stays in one piece
                self._held[:kept] = self._held[low - self._top : low - self._top + kept]
            self._held[kept : kept + len(new)] = new
        elif self._held is not None and low > self._top:
            self._held[:kept] = self._held[low - self._top : low - self._top + kept]
        self._top, self._bottom = low, max(high, self._bottom)

    def fill(self, out: Float32[np.ndarray, "p q c"], rows: slice, cols: slice) -> None:
        """Writes a tile of what is available into `out`, a few rows at a time."""
        if self._held is None:
            raise ValueError("Window.fill before Window.need: no rows are held.")
        own, across = self._rows[rows] - self._top, self._cols[cols]
        for first in range(0, len(own), STEP):
            band = self._held[straight(own[first : first + STEP])]
            out[first : first + STEP] = to_float(band[:, straight(across)])


Part = Callable[[slice, slice], np.ndarray]


def part_of(array: Shaped[np.ndarray, "h w c"], unit: int) -> Part:
    """Tiles of an array, continued as a `Window` is: `(rows, cols) -> p q c`."""
    rows_of, cols_of = mirrored(array.shape[0], unit), mirrored(array.shape[1], unit)
    return lambda rows, cols: array[rows_of[rows]][:, cols_of[cols]]
