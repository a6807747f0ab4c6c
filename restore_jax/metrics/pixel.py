"""Distances pixel by pixel, averaged over each picture."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float


def same_shape(x_hat: Float[Array, "..."], x: Float[Array, "..."]) -> None:
    """Raises ValueError unless both pictures have one shape: a metric never broadcasts."""
    if x_hat.shape != x.shape:
        raise ValueError(f"A metric compares pictures of one shape, not {x_hat.shape} with {x.shape}.")


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
