"""One move along the noise axis, `step(key, denoise, x, s, t)`: from level s to level t < s.

All solve the probability flow `dx/dsigma = (x - D(x, sigma)) / sigma`. A solver receives the function
and not its output, so that it evaluates where it likes. Levels are one number, or one an image.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, per_image

Level = Float[Array, "*#b"]


def slope(denoise: Denoiser, x: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
    """`dx/dsigma = (x - D(x, sigma)) / sigma`, for sigma > 0.

    Reference: Karras et al. 2022 (EDM), algorithm 1, line 4.
    """
    return (x - denoise(x, sigma)) / per_image(sigma, x)


def jump(answer: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], s: Level, t: Level) -> Float[Array, "*b h w c"]:
    """`(t / s) x + (1 - t / s) answer`: where the straight line from x at level s to the answer at 0 passes level t."""
    ratio = per_image(t / s, x)
    return ratio * x + (1.0 - ratio) * answer


def answer(x_t: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], s: Level, t: Level) -> Float[Array, "*b h w c"]:
    """The inverse, `jump(answer, x, s, t) = x_t`: what a denoiser must answer for Euler's step to reach x_t; t < s."""
    ratio = per_image(t / s, x)
    return (x_t - ratio * x) / (1.0 - ratio)


@dataclass(frozen=True)
class Euler:
    """`x + (t - s) slope(x, s)`: order 1, one evaluation; a step to 0 gives D(x, s) itself."""

    order = 1

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return n_steps

    def __call__(
        self, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], s: Float[Array, "*#b"], t: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """The picture at level t."""
        del key
        return x + per_image(t - s, x) * slope(denoise, x, s)


@dataclass(frozen=True)
class Heun:
    """Euler's step, then again with the mean of the slopes at both ends: order 2, two evaluations.

    A step to 0 stays Euler's, for the slope has no value there.

    Reference: Karras et al. 2022 (EDM), algorithm 1.
    """

    order = 2

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return 2 * n_steps - 1

    def __call__(
        self, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], s: Float[Array, "*#b"], t: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """The picture at level t."""
        del key
        first = slope(denoise, x, s)
        euler = x + per_image(t - s, x) * first

        def corrected() -> Float[Array, "*b h w c"]:
            second = slope(denoise, euler, jnp.maximum(t, 1e-12))
            return x + per_image(t - s, x) * 0.5 * (first + second)

        if jnp.ndim(t) == 0:
            return jax.lax.cond(t > 0, corrected, lambda: euler)
        return jnp.where(per_image(t, x) > 0, corrected(), euler)


EXAMPLES = ({"name": "diffusion.solver.Euler"}, {"name": "diffusion.solver.Heun"})
