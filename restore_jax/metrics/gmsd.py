"""Gradient magnitude similarity deviation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import check_channels, same_shape, unit_range
from restore_jax.ops.color import luma


@dataclass(frozen=True)
class Gmsd:
    """How unevenly edges suffered: the standard deviation over pixels of the likeness of gradient magnitudes.

        g = |Prewitt gradient of x, halved by 2x2 means|,    s = (2 g_1 g_2 + c) / (g_1^2 + g_2^2 + c)
        gmsd = sqrt(mean (s - mean s)^2),    c = 170 / 255^2

    for grey pictures or the luma of RGB ones, in [0, 1]; 0 for equal ones, lower is better. Beyond the border pictures
    are 0, as in the authors' code, so that the frame of a bright picture counts as an edge in both. `1 - s` is formed
    directly, from `(g_1 - g_2)^2`, which keeps the digits of a small deviation. Where two magnitudes or the whole
    deviation are 0 the gradient is taken to be 0.

    Raises:
        ValueError: unequal shapes, other than 1 or 3 channels, or values clearly outside [0, 1] where they are known.

    Reference: Xue et al. 2014, "Gradient magnitude similarity deviation: a highly efficient perceptual image quality
    index".
    """

    c: float = 170 / 255**2

    def __post_init__(self):
        if not self.c > 0:
            raise ValueError(f"Gmsd.c keeps flat places alike and must be above 0, not {self.c}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, from 0 to 1/2."""
        same_shape(x_hat, x)
        unit_range("Gmsd", x_hat, x)
        check_channels("Gmsd", x)
        g_1, g_2 = _magnitude(x_hat), _magnitude(x)
        unlike = (g_1 - g_2) ** 2 / (g_1**2 + g_2**2 + self.c)
        off = unlike - jnp.mean(unlike, axis=(-2, -1), keepdims=True)
        return _root(jnp.mean(off**2, axis=(-2, -1)))


def _magnitude(x: Array) -> Array:
    """Of the Prewitt gradient at half the size, `[..., ceil(h / 2), ceil(w / 2)]`."""
    x = (luma(x) if x.shape[-1] == 3 else x)[..., 0]
    x = _summed(_padded(x, 0, x.shape[-2] % 2, x.shape[-1] % 2), (1.0, 1.0), (1.0, 1.0), 2) / 4
    x = _padded(x, 1, 1, 1)
    down = _summed(x, (1.0, 0.0, -1.0), (1.0, 1.0, 1.0), 1)
    right = _summed(x, (1.0, 1.0, 1.0), (1.0, 0.0, -1.0), 1)
    return _root((down**2 + right**2) / 9)


def _padded(x: Array, before: int, below: int, right: int) -> Array:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(before, below), (before, right)])


def _summed(x: Array, rows: tuple[float, ...], cols: tuple[float, ...], stride: int) -> Array:
    """The separable kernel `rows x cols` at every `stride`-th position inside."""
    for axis, taps in ((x.ndim - 2, rows), (x.ndim - 1, cols)):
        end = x.shape[axis] - len(taps) + 1
        parts = [t * jax.lax.slice_in_dim(x, k, k + end, stride, axis) for k, t in enumerate(taps) if t]
        x = sum(parts[1:], parts[0])
    return x


def _root(v: Array) -> Array:
    return jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v, 1.0)), 0.0)


EXAMPLES = ({"name": "metrics.gmsd.Gmsd"},)
