"""Compressed sensing: a picture of which part of the Fourier transform was measured."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.linear import Hartley, root
from restore_jax.degrade.parameter import Parameter, check, draw


@struct.dataclass
class Fourier(Operator):
    """`A x = mask F x`, F the unitary Fourier transform of each channel; real parts, then imaginary parts: `h w 2c`.

    `mask: [h, w, 1]`, a leaf, weighs the frequencies, the lowest at [0, 0] as `fft2` lays them out.

    The transform of a real picture has the same real part at k and at -k, and the opposite imaginary part. On a pair
    of them, `A A^T = v v^T / 2`, with `v = (mask[k], mask[-k])` on real parts and `(mask[k], -mask[-k])` on
    imaginary ones: of rank one, so that any mask, symmetric or not, has its `solve` in closed form.
    """

    mask: Any

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "h w 2*c"]:
        """`mask F x`."""
        z = jnp.fft.fft2(x, axes=(0, 1), norm="ortho")
        return self.mask * jnp.concatenate([z.real, z.imag], axis=-1)

    def adjoint(self, y: Float[Array, "h w d"]) -> Float[Array, "h w c"]:
        """`Re F^-1 (mask y)`."""
        real, imaginary = jnp.split(self.mask * y, 2, axis=-1)
        return jnp.fft.ifft2(jax.lax.complex(real, imaginary), axes=(0, 1), norm="ortho").real

    def solve(self, r: Float[Array, "h w d"], reg: Float[Array, "..."] | float) -> Float[Array, "h w d"]:
        """`v v^T r / (|v|^2 (|v|^2 / 2 + reg))` and `1 / reg` times the rest of r, which no picture has; 0 for reg = 0.

        A `reg` that varies over the picture goes to conjugate gradients.
        """
        if jnp.ndim(reg) > 0:
            return Operator.solve(self, r, reg)
        sign = jnp.asarray(np.repeat([1.0, -1.0], r.shape[-1] // 2), r.dtype)[None, None]
        square = self.mask**2 + _mirrored(self.mask) ** 2
        along = self.mask * (self.mask * r + sign * _mirrored(self.mask * r))  # v v^T r
        possible = along * _inverse(square)  # the part of r that some picture has
        return possible * _inverse(0.5 * square + reg) + (r - possible) * _inverse(jnp.asarray(reg, r.dtype))

    def spectrum(self) -> Float[Array, "h w c"]:
        """The singular values, `|v| / sqrt(2)` at each frequency and channel; `|mask|` where that is symmetric."""
        values = jnp.sqrt(0.5 * (self.mask**2 + _mirrored(self.mask) ** 2))
        return jnp.broadcast_to(values, self.in_shape)

    def svd(self) -> tuple[Float[Array, "h w c"], Operator]:
        """The spectrum and the Hartley transform: `A^T A` filters by `|v|^2 / 2`, the same at k and -k."""
        return root(self.spectrum() ** 2, 1), Hartley(in_shape=self.in_shape)


@dataclass(frozen=True)
class FourierMask:
    """One in `acceleration` of the frequencies was measured, the low ones all: magnetic resonance's undersampling.

    With `pattern` "lines", whole rows of the transform are measured or not, the share `centre` of lowest vertical
    frequencies always; with "pixels", single frequencies, and always those in a rectangle around 0 that is the
    share `centre` of the area. The others are measured with the one probability that makes the measured share
    `1 / acceleration` on the average. A frequency and its mirror image, which holds the same numbers, go together,
    so that the share counts what is known. The constant is always measured.

    cond["image"] is the picture with zeros in place of what was not measured, `A^T y`.

    Raises:
        ValueError: an acceleration below 1, a centre that alone exceeds `1 / acceleration`, an unknown pattern.

    Reference: Lustig et al. 2007, "Sparse MRI: the application of compressed sensing for rapid MR imaging".
    """

    acceleration: Parameter = 4.0
    centre: float = 0.08
    pattern: str = "lines"

    def __post_init__(self) -> None:
        check(self, "acceleration", 1.0)
        most = max(self.acceleration) if isinstance(self.acceleration, tuple) else self.acceleration
        if not 0.0 <= self.centre <= 1.0 / most:
            raise ValueError(
                f"FourierMask.centre must lie in [0, 1 / acceleration] = [0, {1 / most:g}], not {self.centre!r}."
            )
        if self.pattern not in ("lines", "pixels"):
            raise ValueError(f"FourierMask.pattern must be 'lines' or 'pixels', not {self.pattern!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The measured frequencies `h w 2c`, and their `Fourier` operator."""
        key_acceleration, key_mask = jax.random.split(key)
        shape = (x.shape[0], x.shape[1] if self.pattern == "pixels" else 1)
        always, twin = _plan(shape, self.centre if self.pattern == "lines" else self.centre**0.5)
        n, n_always = always.size, int(always.sum())
        share = 1.0 / draw(key_acceleration, self.acceleration)
        chance = (n * share - n_always) / max(n - n_always, 1)
        drawn = jax.random.uniform(key_mask, (n,))[twin] < chance
        measured = jnp.broadcast_to((drawn | always).reshape(*shape, 1), (*x.shape[:2], 1))
        operator = Fourier(in_shape=x.shape, mask=measured.astype(x.dtype))
        y = operator(x)
        return Observation(y=y, operator=operator, cond={"image": operator.adjoint(y)})


def _plan(shape: tuple[int, int], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Of the frequencies, flat: which lie within `share` of each axis around 0, and a number shared by k and -k."""
    cycles = [np.minimum(np.arange(n), n - np.arange(n)) for n in shape]  # of a frequency, over the whole side
    near = [2 * k + 1 <= max(share * n, 1) for k, n in zip(cycles, shape, strict=True)]
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    twin = np.minimum(number, np.roll(number[::-1, ::-1], (1, 1), (0, 1)))
    return (near[0][:, None] & near[1][None]).reshape(-1), twin.reshape(-1)


def _mirrored(z: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """At each frequency k, what `z` has at -k."""
    return jnp.roll(jnp.flip(z, (0, 1)), (1, 1), (0, 1))


def _inverse(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """`1 / z`, and 0 where z is 0: the directions that are given up."""
    return jnp.where(z > 0, 1.0 / jnp.where(z > 0, z, 1.0), 0.0)


EXAMPLES = (
    {"name": "degrade.fourier.FourierMask", "acceleration": 2.0, "centre": 0.25},
    {"name": "degrade.fourier.FourierMask", "acceleration": (1.5, 3.0), "centre": 0.1, "pattern": "pixels"},
)
