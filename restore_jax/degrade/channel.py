"""Colour and light: channels that are mixed or lost, and gains."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.linear import Scale, root
from restore_jax.degrade.mask import Mask
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.color import BT601


@struct.dataclass
class Channels(Operator):
    """`y[h, w, d] = sum_c matrix[d, c] x[h, w, c]`: the same mixture of channels at every pixel.

    `matrix: [d, c]` is a leaf. With `matrix matrix^T = U a U^T`, `solve` is exact at the cost of one
    eigendecomposition of d x d.
    """

    matrix: Any

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "h w d"]:
        """`matrix` at every pixel."""
        return _mix(x, self.matrix)

    def adjoint(self, y: Float[Array, "h w d"]) -> Float[Array, "h w c"]:
        """`matrix^T` at every pixel."""
        return _mix(y, self.matrix.T)

    def solve(self, r: Float[Array, "h w d"], reg: Float[Array, "..."] | float) -> Float[Array, "h w d"]:
        """`U (U^T r / (a + reg))` at every pixel; directions below rounding are given up, not blown up.

        A `reg` that varies over the picture goes to conjugate gradients.
        """
        if jnp.ndim(reg) > 0:
            return Operator.solve(self, r, reg)
        a, u = jnp.linalg.eigh(_mix(self.matrix[None], self.matrix)[0])
        rounding = max(self.matrix.shape) * jnp.finfo(r.dtype).eps * jnp.max(a)
        inverse = jnp.where(a + reg > rounding, 1.0 / jnp.maximum(a + reg, rounding), 0.0)
        return _mix(_mix(r, u.T) * inverse[None, None], u)

    def spectrum(self) -> Float[Array, "h w k"]:
        """The `k = min(c, d)` singular values of `matrix`, at every pixel."""
        values = jnp.linalg.svd(self.matrix, compute_uv=False)
        return jnp.broadcast_to(values[None, None], (*self.in_shape[:2], values.shape[0]))

    def svd(self) -> tuple[Float[Array, "h w c"], Operator]:
        """`sqrt(a)` and `V^T` at every pixel, of `matrix^T matrix = V a V^T`: see `degrade.linear`."""
        a, v = jnp.linalg.eigh(_mix(self.matrix.T[None], self.matrix.T)[0])
        values = jnp.broadcast_to(root(a, max(self.matrix.shape))[None, None], self.in_shape)
        return values, Channels(in_shape=self.in_shape, matrix=v.T)


@dataclass(frozen=True)
class Greyscale:
    """Luma alone is seen: `y = 0.299 R + 0.587 G + 0.114 B`, one channel (ITU-R BT.601).

    Raises:
        ValueError: when called, a picture whose channels are not three.
    """

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The grey picture `h w 1` and its `Channels` operator; the key is not used."""
        del key
        if x.shape[-1] != 3:
            raise ValueError(f"Greyscale takes 3 channels (red, green, blue), not {x.shape[-1]}.")
        operator = Channels(in_shape=x.shape, matrix=jnp.asarray(BT601, x.dtype)[None])
        return Observation(y=operator(x), operator=operator)


@dataclass(frozen=True)
class ChannelLoss:
    """The channels with the numbers in `channels`, counted from 0, are lost: 0 everywhere.

    Raises:
        ValueError: a negative or repeated number, when built; when called, a channel that the picture has not.
    """

    channels: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        if any(i < 0 for i in self.channels) or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"ChannelLoss.channels must be different whole numbers >= 0, not {self.channels!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture without these channels, and its `Mask`; the key is not used."""
        del key
        c = x.shape[-1]
        if any(i >= c for i in self.channels):
            raise ValueError(f"ChannelLoss.channels must lie in [0, {c - 1}] for {c} channels, not {self.channels!r}.")
        seen = np.ones((1, 1, c))
        seen[..., list(self.channels)] = 0.0
        operator = Mask(in_shape=x.shape, mask=jnp.asarray(seen, x.dtype))
        return Observation(y=operator(x), operator=operator)


@dataclass(frozen=True)
class Exposure:
    """`y = 2^stops x`: the shutter was open for longer or shorter, in linear light. Nothing is clipped.

    `stops` lies in [-16, 16], negative for darker.
    """

    stops: Parameter = (-2.0, 0.0)

    def __post_init__(self) -> None:
        check(self, "stops", -16.0, 16.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture in another exposure, and its `Scale`."""
        gain = jnp.exp2(draw(key, self.stops).astype(x.dtype))
        operator = Scale(in_shape=x.shape, gain=gain)
        return Observation(y=operator(x), operator=operator)


@dataclass(frozen=True)
class Vignette:
    """`y = gain x` with a gain that falls from 1 at the centre to `1 - strength` in the corners.

    `gain = cos^4(angle) = (1 + k r^2)^-2`: the fall-off of a simple lens, with r the distance from the centre, 1 at
    the centres of the corner pixels, and k such that the corners have what `strength` says. `strength` lies in
    [0, 0.99].
    """

    strength: Parameter = (0.2, 0.6)

    def __post_init__(self) -> None:
        check(self, "strength", 0.0, 0.99)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The darkened picture, and its `Scale`."""
        h, w, _ = x.shape
        rows, cols = np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2
        square = (rows[:, None] ** 2 + cols[None] ** 2) / max(rows[0] ** 2 + cols[0] ** 2, 1.0)
        strength = draw(key, self.strength).astype(x.dtype)
        k = (1.0 - strength) ** -0.5 - 1.0
        gain = (1.0 + k * jnp.asarray(square, x.dtype)) ** -2
        operator = Scale(in_shape=x.shape, gain=gain[..., None])
        return Observation(y=operator(x), operator=operator)


def _mix(x: Float[Array, "h w c"], matrix: Float[Array, "d c"]) -> Float[Array, "h w d"]:
    return jnp.einsum("dc,hwc->hwd", matrix, x, precision=jax.lax.Precision.HIGHEST)


EXAMPLES = (
    {"name": "degrade.channel.Greyscale"},
    {"name": "degrade.channel.ChannelLoss", "channels": (2,)},
    {"name": "degrade.channel.Exposure", "stops": (-2.0, 0.0)},
    {"name": "degrade.channel.Vignette", "strength": (0.2, 0.6)},
)
