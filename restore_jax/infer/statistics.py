"""Tiles that know the whole picture's statistics: channel attention, tiled exactly.

Squeeze and excitation, and NAFNet's simplified channel attention, weigh channels by their means over the picture,
which a tile does not know: means of a tile differ from place to place, and seams show. Here the means are measured
first, tile by tile, each pixel counted once, and then given to every tile.

    pass 1      the means of every attention, where each tile still uses its own means
    pass p      the same, where every tile uses the means of pass p - 1
    at last     the restoration, with the means of the last pass

The means of the first attention depend on nothing that is not local: pass 1 has them exactly. Those of attention k
depend on those before: pass k has them exactly. With as many passes as there are attentions, tiled is whole; each
pass costs what a restoration costs. With fewer the difference is that of the later means, which passes improve too:
`tests/infer/test_statistics.py` states it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation
from restore_jax.infer.around import Around
from restore_jax.infer.bands import ArraySink, Window
from restore_jax.infer.tile import Progress, Tile
from restore_jax.nets.attention import pooled_as

MEANS = "means of attention "  # and its number: what a tile is told, among its conditions


@dataclass(frozen=True, eq=False)
class _Told(Around):
    """The restorer, its attentions told their means by obs.cond; where none are, a tile's own."""

    @property
    def local(self) -> bool:
        """With its means given."""
        return True

    def __call__(self, key: Keys, obs: Observation) -> Array:
        return self.weighed(key, obs)[0]

    def weighed(self, key: Keys, obs: Observation, weights: tuple[Array, Array] | None = None) -> tuple[Array, list]:
        """The answer, and for each attention the sums over the tile of `weight x` and of `weight`."""
        told = {name: a for name, a in obs.cond.items() if name.startswith(MEANS)}
        rest = dataclasses.replace(obs, cond={name: a for name, a in obs.cond.items() if name not in told})
        sums: list[tuple[Array, Array]] = []
        count = 0

        def pooling(x: Array) -> Array:
            nonlocal count
            name, count = f"{MEANS}{count}", count + 1
            if weights is not None:
                down, across = (_coarser(w, n) for w, n in zip(weights, x.shape[1:3]))
                weight = down[:, :, None, None] * across[:, None, :, None]
                sums.append(((weight * x).sum((1, 2)), weight.sum((1, 2))))
            if name in told:
                return jnp.broadcast_to(told[name].reshape(1, 1, 1, -1), (x.shape[0], 1, 1, x.shape[3])).astype(x.dtype)
            return x.mean((1, 2), keepdims=True)

        with pooled_as(pooling):
            x_hat = self.restorer(key, rest)
        return x_hat, sums


@dataclass(frozen=True, eq=False)
class Statistics(Around):
    """`restorer`, tiled after `passes` passes that measure the means of its channel attentions.

    For restorers that evaluate their net once (`Once`, or `Consistency` with one level) and see beyond
    `halo_px` by `nets.attention.pooled` only: NAFNet, and nets with `ChannelAttention`. The tiles are `infer.tile`'s,
    with halo and without feathering.

    Raises:
        ValueError: `passes` is below 1, or the restorer has no such attention.
    """

    passes: int = 1
    tile_px: int | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ValueError(f"Statistics.passes must be at least 1, not {self.passes}: without one, use Tile.")

    @property
    def local(self) -> bool:
        """It looks at the whole picture."""
        return False

    @cached_property
    def _tile(self) -> Tile:
        return Tile(_Told(self.restorer), self.tile_px, batch=self.batch)

    @cached_property
    def _sums(self) -> Callable[..., Any]:
        told = _Told(self.restorer)
        return jax.jit(lambda key, obs, weights: told.weighed(key, obs, weights)[1])

    def __call__(self, key: Keys, obs: Observation, progress: Progress | None = None) -> Float[np.ndarray, "*b h w c"]:
        """The restored photographs, on the host; y is `h w c` or a batch of them."""
        if np.ndim(obs.y) == 4:
            keys = [key] * len(obs.y) if key.ndim == 0 else list(key)
            return np.stack([self(k, dataclasses.replace(obs, y=y), progress) for k, y in zip(keys, obs.y)])
        y = np.asarray(obs.y)
        h, w, c = y.shape
        out = np.zeros((h * self.scale, w * self.scale, c), np.float32)
        self.stream(key, lambda: y, ArraySink(out), obs, progress)
        return out

    def stream(
        self,
        key: Keys,
        reopen: Callable[[], Any],
        sink: Any,
        obs: Observation | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Restores the rows of `reopen()`, a source that is read `passes` + 1 times, into `sink`."""
        obs = Observation(y=None) if obs is None else obs
        for _ in range(self.passes):
            obs = obs.with_cond(**self.means(key, reopen(), obs))
        self._tile.stream(key, reopen(), sink, obs, progress=progress)

    def means(self, key: Keys, source: Any, obs: Observation) -> dict[str, Float[np.ndarray, " c"]]:
        """The mean of every attention over the whole picture, given those in obs.cond for the ones before it."""
        picture = Window(source, self._tile.unit)
        extras, room, axes = self._tile.plan(key, picture, obs)
        downs, acrosses = (axis.windows() for axis in axes)
        totals: list[list[np.ndarray]] = []
        for some, given in self._tile.tiles(picture, extras, axes, room.batch):
            counted = some + [None] * (room.batch - len(some))  # what fills a batch up counts for nothing
            down = np.stack([downs[0] * 0 if place is None else downs[place[0]] for place in counted])
            across = np.stack([acrosses[0] * 0 if place is None else acrosses[place[1]] for place in counted])
            sums = self._sums(key, given, (down, across))
            sums = [[np.asarray(a, np.float64).sum(0) for a in pair] for pair in sums]
            totals = [[a + b for a, b in zip(*pairs)] for pairs in zip(totals, sums)] if totals else sums
        if not totals:
            raise ValueError(
                f"Statistics.restorer pools nothing through nets.attention.pooled: use infer.tile.Tile, which is "
                f"{'exact' if Around(self.restorer).local else 'feathered'} for it."
            )
        return {f"{MEANS}{k}": (total / weight).astype(np.float32) for k, (total, weight) in enumerate(totals)}


def _coarser(weights: Float[Array, "b n"], size: int) -> Float[Array, "b m"]:
    """Weights of pixels as weights of cells, or of finer pixels: the grid of a level of the net."""
    b, n = weights.shape
    if size >= n:
        return jnp.repeat(weights, size // n, axis=1)
    return weights.reshape(b, size, n // size).mean(-1)
