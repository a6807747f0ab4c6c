"""Blurs."""

from dataclasses import dataclass

from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.linear import Separable
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.filter import gaussian_weights


@dataclass(frozen=True)
class GaussianBlur:
    """`y = A x`, the isotropic Gaussian blur of width `std` pixels, mirrored at the borders.

    `std` is one number or a range drawn uniformly for each picture. A thousandth of a pixel or
    less changes nothing. Cost: two dense products, `(h + w) h w c` multiply-adds.
    """

    std: Parameter = 1.2

    def __post_init__(self) -> None:
        check(self, "std", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The blurred picture and its `Separable` operator."""
        std = draw(key, self.std)
        rows = gaussian_weights(x.shape[0], std, x.dtype)
        cols = gaussian_weights(x.shape[1], std, x.dtype)
        operator = Separable(in_shape=x.shape, rows=rows, cols=cols)
        return Observation(y=operator(x), operator=operator)


EXAMPLES = (
    {"name": "degrade.blur.GaussianBlur", "std": 1.2},
    {"name": "degrade.blur.GaussianBlur", "std": (0.2, 2.0)},
    {"name": "degrade.blur.GaussianBlur", "std": 0.0},
)
