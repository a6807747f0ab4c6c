"""Large photographs, tile by tile, on one small compiled program.

    y is cut into overlapping tiles; each is restored; the results are averaged under windows that are
    0 in the halo and rise linearly behind it, divided by their sum.

The halo is how far the network sees. Behind it a tile knows all that the whole picture knows, so that
the tiled restoration *is* the whole one (to rounding) for every restorer whose operations are local.
Tiles have one size, so one program is compiled whatever the photograph; the device holds one batch of
tiles at a time, and the photograph stays in host memory.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from restore_jax.core import Keys, Observation, Restorer, normal, split

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Tile:
    """`restorer`, applied to tiles of `tile_px` x `tile_px` pixels of y, `batch` at a time.

    `overlap_px` (of y, on each side) is the halo; None takes the restorer's own `halo_px`, which makes the
    result exact. A smaller one, for samplers whose many evaluations see the whole picture, trades a
    difference that fades under the windows for speed. Noise is drawn once in the coordinates of the
    photograph, so that overlapping tiles sample the same picture.

    Raises ValueError where the tile leaves no room inside its halo.
    """

    restorer: Restorer
    tile_px: int = 128
    overlap_px: int | None = None
    batch: int = 4

    def __post_init__(self) -> None:
        if self.tile_px % self._unit:
            raise ValueError(f"tile_px must be a multiple of {self._unit} for this network, not {self.tile_px}.")
        if self.tile_px < 2 * self._halo + self._unit:
            raise ValueError(
                f"tile_px = {self.tile_px} leaves no room inside a halo of {self._halo} pixels a side: "
                f"take at least {2 * self._halo + self._unit}, or a smaller overlap_px."
            )

    @property
    def scale(self) -> int:
        """As the restorer's."""
        return self.restorer.scale

    @property
    def draws(self) -> int:
        """As the restorer's."""
        return self.restorer.draws

    @property
    def _unit(self) -> int:
        """Tiles start and end on multiples of this many pixels of y: the network's grid."""
        return math.lcm(getattr(self.restorer, "factor", 1), self.scale) // self.scale

    @property
    def _halo(self) -> int:
        own = -(-getattr(self.restorer, "halo_px", 0) // self.scale)
        halo = own if self.overlap_px is None else self.overlap_px
        return -(-halo // self._unit) * self._unit

    @cached_property
    def _restore(self) -> Callable[[Any, Any, Any], jax.Array]:
        def one_batch(key: Keys, y: jax.Array, noise: jax.Array | None) -> jax.Array:
            obs = Observation(y=y)
            return self.restorer(key, obs if noise is None else obs.with_cond(noise=noise))

        return jax.jit(one_batch)

    def __call__(self, key: Keys, obs: Observation, progress: Progress | None = None) -> Float[np.ndarray, "*b h w c"]:
        """The restored photographs, on the host; y is `h w c` or a batch of them.

        `progress(done, total)` is called after each batch of tiles of a photograph.
        """
        y = np.asarray(obs.y, np.float32)
        if y.ndim == 4:
            keys = split(key, len(y)) if key.ndim == 0 else key
            noises = obs.cond.get("noise", [None] * len(y))
            return np.stack([self._photograph(k, one, noise, progress) for k, one, noise in zip(keys, y, noises)])
        return self._photograph(key, y, obs.cond.get("noise"), progress)

    def _photograph(self, key: Keys, y: np.ndarray, noise: np.ndarray | None, progress: Progress | None) -> np.ndarray:
        h, w, c = y.shape
        s, unit = self.scale, self._unit
        if self.draws:
            drawn = normal(split(key)[0], (h * s, w * s, self.draws * c)) if noise is None else noise
            noise = _mirror_to(np.asarray(drawn), unit * s)
        y = _mirror_to(y, unit)
        tiles = list(self._tiles(y.shape[0], y.shape[1]))
        total = np.zeros((y.shape[0] * s, y.shape[1] * s, c), np.float32)
        weight = np.zeros((*total.shape[:2], 1), np.float32)
        for first in range(0, len(tiles), self.batch):
            some = tiles[first : first + self.batch]
            full = some + some[-1:] * (self.batch - len(some))  # a short last batch is filled up: one program
            y_tiles = np.stack([y[rows, cols] for rows, cols in full])
            noise_tiles = None
            if noise is not None and self.draws:
                noise_tiles = np.stack([noise[_scaled(rows, s), _scaled(cols, s)] for rows, cols in full])
            restored = np.asarray(self._restore(key, y_tiles, noise_tiles))
            for (rows, cols), x_hat in zip(some, restored):
                window = self._window(rows, y.shape[0])[:, None, None] * self._window(cols, y.shape[1])[None, :, None]
                total[_scaled(rows, s), _scaled(cols, s)] += window * x_hat
                weight[_scaled(rows, s), _scaled(cols, s)] += window
            if progress:
                progress(first + len(some), len(tiles))
        return (total / weight)[: h * s, : w * s]

    def _tiles(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        for top in self._starts(height):
            for left in self._starts(width):
                yield (
                    slice(top, min(top + self.tile_px, height)),
                    slice(left, min(left + self.tile_px, width)),
                )

    def _starts(self, size: int) -> list[int]:
        """Starts on the grid, so far apart that the insides of the tiles meet; the last tile ends with the picture."""
        last = max(0, size - self.tile_px)
        stride = max(self._unit, (self.tile_px - 2 * self._halo) * 3 // 4 // self._unit * self._unit)
        count = -(-last // stride) + 1
        return sorted({round(last * k / max(1, count - 1) / self._unit) * self._unit for k in range(count)})

    def _window(self, span: slice, size: int) -> np.ndarray:
        """0 in the halo of inner edges, rising linearly behind it; 1 at the picture's own edges."""
        n, halo = (span.stop - span.start) * self.scale, self._halo * self.scale
        ramp = max(1, (self.tile_px * self.scale - 2 * halo) // 4)
        from_edge = np.arange(n) + 1.0
        rise = np.clip((from_edge - halo) / ramp, 0.0, 1.0)
        left = np.ones(n) if span.start == 0 else rise
        right = np.ones(n) if span.stop == size else rise[::-1]
        return (left * right).astype(np.float32)


def _scaled(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


def _mirror_to(picture: np.ndarray, multiple: int) -> np.ndarray:
    """Continued by its mirror image, edge repeated, to a multiple: as the restorer does to a whole picture."""
    pad = [(0, -side % multiple) for side in picture.shape[:2]] + [(0, 0)]
    return np.pad(picture, pad, mode="symmetric")
