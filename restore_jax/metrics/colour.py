"""Whether a picture has the colours of another, whatever its detail: the distance that a cast makes."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import length, same_shape, unit_range
from restore_jax.nets.layers import pad_to_multiple


@dataclass(frozen=True)
class Colour:
    """`mean(sqrt(m^2 + eps^2) - eps)`, m the means of x_hat - x over squares of `window_px` pixels; 0 is best.

    In units of x: the absolute difference of the colours of squares that lie side by side, smooth at 0.

    Texture has no part in it: what moves within a square cancels. So a loss that rewards texture, or a distance that
    lets one channel pay for another, can be held to the colours by this one at little cost. A picture of no multiple of
    `window_px` is continued by its mirror image.

    Raises:
        ValueError: `window_px` below 1, `eps` not above 0, or a picture clearly outside [0, 1] where its values are
            known.

    Reference: Ignatov et al. 2017, "DSLR-quality photos on mobile devices with deep convolutional networks",
    section 3.1.1, with the means of squares for the Gaussian blur, and absolute for squared differences.
    """

    window_px: int = 16
    eps: float = 1e-4

    def __post_init__(self) -> None:
        if self.window_px < 1:
            raise ValueError(f"Colour.window_px must be 1 or above, not {self.window_px}.")
        if not self.eps > 0:
            raise ValueError(f"Colour.eps keeps the slope at 0 and must be above 0, not {self.eps}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        unit_range("Colour", x_hat, x)
        same_shape(x_hat, x)
        side = self.window_px
        error, _ = pad_to_multiple(x_hat - x, side)
        *batch, h, w, c = error.shape
        squares = error.reshape(*batch, h // side, side, w // side, side, c)
        means = jnp.mean(squares, axis=(-4, -2))
        return jnp.mean(length(means**2, self.eps), axis=(-3, -2, -1))


EXAMPLES = ({"name": "metrics.colour.Colour"}, {"name": "metrics.colour.Colour", "window_px": 5})
