"""Where tiles lie along one axis, and how much of each pixel they answer for.

    spans      [start_k, start_k + tile), starts on multiples of `unit`, the last one ending with the axis
    windows    w_k(i) >= 0, 0 in the halo of inner edges, sum_k w_k(i) = 1 at every i

Along two axes windows multiply, so that the sum over all tiles is 1 at every pixel and nothing has to be divided.
With `feather = False` each pixel belongs to one tile (w is 0 or 1); else neighbours blend linearly.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Axis:
    """Tiles of `tile` pixels over `size` pixels from `begin` on; all are multiples of `unit`.

    What lies before `begin + halo` is answered for although it may be wrong unless `begin` is 0: it was answered
    before.

    Raises:
        ValueError: a tile has no room inside its halo.
    """

    size: int
    tile: int
    halo: int
    unit: int = 1
    feather: bool = False
    begin: int = 0

    def __post_init__(self) -> None:
        if self.tile < self.size - self.begin and self.tile < 2 * self.halo + self.unit:
            raise ValueError(
                f"Axis.tile = {self.tile} leaves no room inside a halo of {self.halo} pixels a side: take at least "
                f"{2 * self.halo + self.unit}."
            )

    @property
    def _inside(self) -> int:
        return self.tile - 2 * self.halo

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """The pixels of each tile."""
        tile = min(self.tile, self.size - self.begin)
        stride = self._inside * 3 // 4 if self.feather else self._inside
        stride = max(self.unit, stride // self.unit * self.unit)
        last = self.size - tile
        starts = [*range(self.begin, last, stride), last]
        return tuple(slice(start, start + tile) for start in starts)

    def windows(self, scale: int = 1) -> list[Float32[np.ndarray, " n"]]:
        """The weights of each tile's pixels, on a grid `scale` times as fine."""
        if self.feather:
            raw = [self._ramps(span, scale) for span in self.spans]
        else:
            raw, reached = [], self.begin
            for k, span in enumerate(self.spans):
                end = self.size if k == len(self.spans) - 1 else span.stop - self.halo
                place = np.arange(span.start * scale, span.stop * scale)
                raw.append(((place >= reached * scale) & (place < end * scale)).astype(np.float32))
                reached = max(reached, end)
        total = np.zeros((self.size - self.begin) * scale)
        places = [slice((s.start - self.begin) * scale, (s.stop - self.begin) * scale) for s in self.spans]
        for place, window in zip(places, raw):
            total[place] += window
        return [(window / total[place]).astype(np.float32) for place, window in zip(places, raw)]

    def _ramps(self, span: slice, scale: int) -> np.ndarray:
        """0 in the halo of inner edges, rising linearly behind it; 1 at the axis's own ends."""
        n, halo = (span.stop - span.start) * scale, self.halo * scale
        ramp = max(1, self._inside * scale // 4)
        rise = np.clip((np.arange(n) + 1.0 - halo) / ramp, 0.0, 1.0)
        left = np.ones(n) if span.start == self.begin else rise
        right = np.ones(n) if span.stop == self.size else rise[::-1]
        return left * right


def fitted(height: int, width: int, halo: int, unit: int, area: int) -> tuple[int, int]:
    """The tile of at most `area` pixels whose overlap costs a picture least: height and width, multiples of `unit`.

    n tiles that meet exactly along an axis are `(size + 2 halo (n - 1)) / n` long. Of all pairs of numbers whose tile
    is not above `area`, those with the fewest pixels in all tiles together; so pictures of any height take much the
    same memory. Where no tile is so small, the smallest with as much room inside as its halo takes.
    """

    def sides(size: int) -> list[tuple[int, int]]:
        counts = range(1, max(2, size // max(unit, 2 * halo) + 1))
        exact = ((n, -(-(size + 2 * halo * (n - 1)) // n)) for n in counts)
        return [(min(size, -(-one // unit) * unit), n) for n, one in exact]

    acrosses = sides(width)  # falling
    found = []
    for h, n in sides(height):
        k = bisect_left(acrosses, -(area // h), key=lambda side: -side[0])
        found += [(n * m * h * w, h, w) for w, m in acrosses[k : k + 1]]
    return min(found)[1:] if found else (min(sides(height))[0], min(acrosses)[0])
