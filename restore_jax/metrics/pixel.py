"""Distances pixel by pixel, averaged over each picture, and what every metric asks of the two that it compares."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.ops.color import studio_luma

# No picture meant to lie in [0, 1] goes so far beyond, however noisy; nearly every one of 0 to 255 does.
BEYOND = 8.0


def length(squared: Float[Array, "..."], eps: float) -> Float[Array, "..."]:
    """`sqrt(squared + eps^2) - eps`: the size of a number whose square this is, smooth at 0."""
    return jnp.sqrt(squared + eps**2) - eps


def same_shape(x_hat: Float[Array, "..."], x: Float[Array, "..."]) -> None:
    """Raises ValueError unless both pictures have one shape and are of floats: a metric never broadcasts."""
    for picture in (x_hat, x):
        if not jnp.issubdtype(picture.dtype, jnp.floating):
            raise ValueError(f"A metric compares pictures of floats in [0, 1], not of {picture.dtype}: divide by 255.")
    if x_hat.shape != x.shape:
        raise ValueError(f"A metric compares pictures of one shape, not {x_hat.shape} with {x.shape}.")


def unit_range(name: str, *pictures: Float[Array, "..."]) -> None:
    """Raises ValueError, calling the metric `name`, where a picture is clearly not one in [0, 1].

    Looks at values wherever they are known, that is outside `jax.jit`, `vmap` and `grad`; inside it does nothing.
    """
    for picture in pictures:
        if isinstance(picture, jax.core.Tracer) or not picture.size:
            continue
        values = np.asarray(picture)
        low, high = float(values.min()), float(values.max())
        if low < -BEYOND or high > BEYOND:
            raise ValueError(
                f"{name} measures pictures in [0, 1]; these go from {low:g} to {high:g}. Divide 8-bit ones by 255."
            )


def check_channels(name: str, x: Float[Array, "*b h w c"], allowed: tuple[int, ...] = (1, 3)) -> None:
    """Raises ValueError, calling the metric `name`, unless the picture has one of the `allowed` channel counts."""
    if x.shape[-1] not in allowed:
        kinds = " or ".join(str(n) for n in allowed)
        raise ValueError(f"{name} measures pictures of {kinds} channels, not of {x.shape[-1]}.")


def compared(
    name: str, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], luma: bool, border_px: int
) -> tuple[Float[Array, "*b p q d"], Float[Array, "*b p q d"]]:
    """What of the two is compared: the MATLAB luma if `luma`, without `border_px` pixels at each side.

    Raises:
        ValueError: unequal shapes, values of another range, no RGB where luma is asked for, nothing left inside.
    """
    same_shape(x_hat, x)
    unit_range(name, x_hat, x)
    if luma:
        check_channels(f"{name}(luma=True)", x, (3,))
        x_hat, x = studio_luma(x_hat), studio_luma(x)
    if not border_px:
        return x_hat, x
    if min(x.shape[-3:-1]) <= 2 * border_px:
        raise ValueError(f"{name}.border_px = {border_px} leaves nothing of {x.shape[-3:-1]} pixels: take less.")
    inside = slice(border_px, -border_px)
    return x_hat[..., inside, inside, :], x[..., inside, inside, :]


def check_border(name: str, border_px: int) -> None:
    """Raises ValueError, calling the metric `name`, unless `border_px` is 0 or more."""
    if border_px < 0:
        raise ValueError(f"{name}.border_px counts pixels that are left out, 0 or more, not {border_px}.")


def _per_picture(distance: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    return jnp.mean(distance, axis=(-3, -2, -1))


@dataclass(frozen=True)
class Mse:
    """Mean squared error, `mean((x_hat - x)^2)`."""

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, 0 for equal ones."""
        same_shape(x_hat, x)
        return _per_picture((x_hat - x) ** 2)


@dataclass(frozen=True)
class Charbonnier:
    """`mean(sqrt((x_hat - x)^2 + eps^2) - eps)`: the absolute error, smooth at 0.

    Reference: Charbonnier et al. 1994, "Two deterministic half-quadratic regularization algorithms
    for computed imaging", table 1.
    """

    eps: float = 1e-3

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, 0 for equal ones."""
        same_shape(x_hat, x)
        return _per_picture(jnp.sqrt((x_hat - x) ** 2 + self.eps**2) - self.eps)


@dataclass(frozen=True)
class PseudoHuber:
    """`sqrt(mean((x_hat - x)^2) + c^2) - c`: one length a picture, not one a pixel.

    Large errors count linearly, so that the noisy targets of consistency training weigh less.
    `c` in units of x. The published form sums over the N values of a picture; ours, with
    `c = c_sum / sqrt(N)`, is that divided by `sqrt(N)`.

    Reference: Song & Dhariwal 2023, "Improved techniques for training consistency models", eq. 7.
    """

    c: float = 0.00054  # the published 0.00054 sqrt(N)

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, 0 for equal ones."""
        same_shape(x_hat, x)
        return jnp.sqrt(_per_picture((x_hat - x) ** 2) + self.c**2) - self.c


EXAMPLES = (
    {"name": "metrics.pixel.Mse"},
    {"name": "metrics.pixel.Charbonnier", "eps": 1e-3},
    {"name": "metrics.pixel.PseudoHuber", "c": 0.01},
)
