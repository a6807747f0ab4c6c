"""Whether a picture is as rough as another, place by place and period by period: amplitudes of local waves."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import length, same_shape, unit_range
from restore_jax.nets.layers import pad_to_multiple


@dataclass(frozen=True)
class Spectrum:
    """`mean |A(x_hat) - A(x)|`, A the amplitudes of the waves in overlapping squares; 0 is best.

        A = |F w (x - sum(w x))|,    F Fourier's sum over a square, w a Hann window of sum 1
        |z| = sqrt(z^2 + eps^2) - eps

    in units of x. Where a wave stands in its square has no part in it: fur elsewhere than it was costs little, and both
    blur and a mesh that x has not cost what they are. A cast is not seen. Squares of `window_px` overlap by half; a
    picture that they do not fill is continued by its mirror image. With `excess`, only amplitudes above those of x
    count: x_hat may be smoother than x, but not rougher at any period. Cost: a transform of each square, four a place.

    Raises:
        ValueError: `window_px` not even and above 2, `eps` not above 0, or a picture clearly outside [0, 1] where its
            values are known.

    Reference: Yamamoto et al. 2020, "Parallel WaveGAN", eq. 4-6, amplitudes of short-time Fourier transforms (of
    sound); Jiang et al. 2021, "Focal frequency loss for image reconstruction and synthesis", of patches of pictures.
    """

    window_px: int = 16
    eps: float = 1e-4
    excess: bool = False

    def __post_init__(self) -> None:
        if self.window_px < 4 or self.window_px % 2:
            raise ValueError(f"Spectrum.window_px must be even and 4 or above, not {self.window_px}.")
        if not self.eps > 0:
            raise ValueError(f"Spectrum.eps keeps the slope at 0 and must be above 0, not {self.eps}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        unit_range("Spectrum", x_hat, x)
        same_shape(x_hat, x)
        over = self._amplitudes(x_hat) - self._amplitudes(x)
        counted = jnp.maximum(over, 0.0) if self.excess else over
        return jnp.mean(length(counted**2, self.eps), axis=tuple(range(x.ndim - 3, over.ndim)))

    def _amplitudes(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b _ _ c _"]:
        side = self.window_px
        half = side // 2
        x, _ = pad_to_multiple(x, side if min(x.shape[-3:-1]) < side else half)
        *batch, h, w, c = x.shape
        cells = x.reshape(*batch, h // half, half, w // half, half, c)
        tall = jnp.concatenate([cells[..., :-1, :, :, :, :], cells[..., 1:, :, :, :, :]], axis=-4)
        squares = jnp.concatenate([tall[..., :-1, :, :], tall[..., 1:, :, :]], axis=-2)
        squares = jnp.moveaxis(squares, (-4, -2), (-2, -1))  # [..., rows, columns, c, side, side]
        hann = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * (jnp.arange(side) + 0.5) / side)
        window = (jnp.outer(hann, hann) / jnp.sum(hann) ** 2).reshape((1,) * (squares.ndim - 2) + (side, side))
        mean = jnp.sum(squares * window, axis=(-2, -1), keepdims=True)  # taken off, else a cast leaks to the next waves
        waves = jnp.fft.fft2((squares - mean) * window)
        power = (waves.real**2 + waves.imag**2).reshape(*waves.shape[:-2], -1)[..., 1:]
        return length(power, self.eps)


EXAMPLES = (
    {"name": "metrics.spectrum.Spectrum"},
    {"name": "metrics.spectrum.Spectrum", "window_px": 8},
)
