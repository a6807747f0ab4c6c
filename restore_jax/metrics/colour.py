"""Whether a picture has the colours of another, whatever its detail: the distance that a cast makes."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import same_shape
from restore_jax.nets.layers import pad_to_multiple


@dataclass(frozen=True)
class Colour:
    """`mean(|mean_window(x_hat - x)|)`, over squares of `window_px` pixels side by side, in units of x; 0 is best.

    Texture has no part in it: what moves within a square cancels. So a loss that rewards texture, or a distance that
    lets one channel pay for another, can be held to the colours by this one at little cost. A picture of no multiple of
    `window_px` is continued by its mirror image.

    Raises:
        ValueError: `window_px` below 1.

    Reference: Ignatov et al. 2017, "DSLR-quality photos on mobile devices with deep convolutional networks",
    section 3.1.1, with the mean of squares for the Gaussian blur, and absolute for squared differences.
    """

    window_px: int = 16

    def __post_init__(self) -> None:
        if self.window_px < 1:
            raise ValueError(f"Colour.window_px must be 1 or above, not {self.window_px}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        same_shape(x_hat, x)
        side = self.window_px
        error, _ = pad_to_multiple(x_hat - x, side)
        *batch, h, w, c = error.shape
        squares = error.reshape(*batch, h // side, side, w // side, side, c)
        return jnp.mean(jnp.abs(jnp.mean(squares, axis=(-4, -2))), axis=(-3, -2, -1))


EXAMPLES = ({"name": "metrics.colour.Colour"}, {"name": "metrics.colour.Colour", "window_px": 5})
