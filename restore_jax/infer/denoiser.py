"""Diffusion over a photograph whose every step is tiled: no seams, whatever the grid of tiles.

    D_tiled(x_t, sigma) = sum over tiles of  window * D(x_t[tile], sigma | cond[tile]),      windows sum to 1

The sampler runs on the whole picture, with its noise, its steps and its guidance; only the network is evaluated tile
by tile. Tiles thus agree after every step, and the halo is that of one evaluation: a sampler of n evaluations that is
tiled as a whole needs n of them.
"""

import dataclasses
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.core import Conditional, Denoiser, Observation, Restorer
from restore_jax.infer.around import is_local
from restore_jax.infer.grid import Axis
from restore_jax.methods.regression import Sampled


@dataclass(frozen=True)
class TiledDenoiser:
    """A Guidance: the denoiser, evaluated on tiles of `tile_px` x `tile_px` pixels of x, one after the other.

    Exactly the denoiser (to rounding) where `halo_px` covers what it sees in one evaluation and it is local; then
    `feather` is False and every pixel is one tile's. With `feather`, for nets that see more, neighbours fade into each
    other at every step. `unit` is the network's factor, on which tiles start and end; the sides of x must be multiples
    of it, which `Sampled` sees to.

    Conditions of the network on the grid of x are cut with it. Inside one program: the device holds the pictures that
    the sampler holds (x, noise, condition: 12 bytes a pixel each) and the activations of one tile.

    Raises:
        ValueError: the tile leaves no room inside its halo, or the denoiser has conditions and cannot be asked under
            others; put this guidance first.
    """

    tile_px: int = 256
    halo_px: int = 32
    unit: int = 1
    feather: bool = False

    def __post_init__(self) -> None:
        if self.unit < 1 or self.tile_px % self.unit or self.halo_px % self.unit or self.halo_px < 0:
            raise ValueError(
                f"TiledDenoiser.tile_px and halo_px must be multiples of unit = {self.unit}, not {self.tile_px} and "
                f"{self.halo_px}."
            )
        if self.tile_px < 2 * self.halo_px + self.unit:
            raise ValueError(
                f"TiledDenoiser.tile_px = {self.tile_px} leaves no room inside a halo of {self.halo_px} pixels a side:"
                f" take at least {2 * self.halo_px + self.unit}."
            )

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The tiled denoiser."""
        if obs.cond.keys() - {"noise"} and not isinstance(denoise, Conditional):
            raise ValueError(
                "TiledDenoiser cuts the conditions of the network and needs a denoiser that can be asked under others"
                " (core.Conditional): put it first among the guidance."
            )
        return _Tiled(self, denoise, obs)


@dataclass(frozen=True, eq=False)
class _Tiled:
    """What `TiledDenoiser` answers; it can be asked under other conditions too."""

    how: TiledDenoiser
    denoise: Denoiser
    obs: Observation

    def given(self, **cond: Array | None) -> "_Tiled":
        """The same with `cond` in place of its own; None removes one."""
        if not isinstance(self.denoise, Conditional):
            raise ValueError("TiledDenoiser.given needs a denoiser that can be asked under other conditions.")
        return dataclasses.replace(self, denoise=self.denoise.given(**cond), obs=self.obs.with_cond(**cond))

    def __call__(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
        """`x_hat`, assembled."""
        how, (h, w) = self.how, x_t.shape[-3:-1]
        down, across = (
            Axis(n, min(how.tile_px, n), how.halo_px, how.unit, how.feather) for n in (h, w)
        )  # one program: all tiles of an axis are as long
        if len(down.spans) * len(across.spans) == 1:
            return self.denoise(x_t, sigma)
        cut = {name: a for name, a in self.obs.cond.items() if jnp.ndim(a) >= 3 and a.shape[-3:-1] == (h, w)}
        cut.pop("noise", None)
        size = (down.spans[0].stop, across.spans[0].stop)
        starts = [(rows.start, cols.start) for rows in down.spans for cols in across.spans]
        rows_w, cols_w = jnp.asarray(np.stack(down.windows())), jnp.asarray(np.stack(across.windows()))

        def part(a: Array, start: Array) -> Array:
            a = jax.lax.dynamic_slice_in_dim(a, start[0], size[0], a.ndim - 3)
            return jax.lax.dynamic_slice_in_dim(a, start[1], size[1], a.ndim - 2)

        @jax.checkpoint  # whoever differentiates keeps the tiles' answers and not their activations
        def answer(start: Array) -> Array:
            ask = self.denoise
            if cut and isinstance(ask, Conditional):
                ask = ask.given(**{name: part(a, start) for name, a in cut.items()})
            return ask(part(x_t, start), sigma)

        def add(total: Array, tile: tuple[Array, Array, Array]) -> tuple[Array, None]:
            start, k, j = tile
            window = rows_w[k][:, None, None] * cols_w[j][None, :, None]
            x_hat = answer(start)
            new = part(total, start) + window.reshape((1,) * (x_hat.ndim - 3) + window.shape) * x_hat
            zero = jnp.zeros((), start.dtype)
            return jax.lax.dynamic_update_slice(
                total, new, (*[zero] * (total.ndim - 3), start[0], start[1], zero)
            ), None

        n = len(across.spans)
        order = jnp.arange(len(starts))
        return jax.lax.scan(add, jnp.zeros_like(x_t), (jnp.asarray(starts), order // n, order % n))[0]


def tiled_steps(restorer: Sampled, tile_px: int = 256, halo_px: int | None = None) -> Restorer:
    """The restorer with each evaluation of its network tiled, beneath all guidance; `halo_px` None is exact.

    It draws the noise of the whole picture, so that with a local network it answers what `restorer` does, for every
    sampler, to rounding. Where a network sees everything, neighbours fade into each other.

    Raises:
        ValueError: the tile leaves no room inside its halo, or the network enlarges y itself: its tiles are
            `infer.tile`'s.
    """
    method, net = restorer.method, restorer.method.net
    if getattr(net, "scale", 1) != 1:
        raise ValueError("tiled_steps needs a network on the grid of x; one that enlarges y is for infer.tile.Tile.")
    unit = math.lcm(net.factor, method.scale)
    own = -(-net.receptive_px // unit) * unit
    halo = own if halo_px is None else -(-halo_px // unit) * unit
    tile = TiledDenoiser(tile_px, halo, unit, feather=halo < own or not is_local(restorer))
    return Sampled(dataclasses.replace(method, guidance=(tile, *method.guidance)), restorer.params, restorer.sampler)


EXAMPLES = ({"name": "infer.denoiser.TiledDenoiser", "tile_px": 16, "halo_px": 4},)
