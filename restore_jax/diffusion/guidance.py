"""Everything that guides is `(Denoiser, Observation) -> Denoiser`.

Guidance by differences extrapolates from a worse answer through a better one,

    D = D_weak + scale (D_strong - D_weak)

where scale 1 is the strong one itself. What is worse: to know less (classifier-free), or to have learned less
(autoguidance). A scale that is too large leaves the range of pictures; `Threshold` after it brings it back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Conditional, Denoiser, Observation, per_image


@dataclass(frozen=True)
class Threshold:
    """`clip(D(x_t, sigma), low, high)`: an estimate of a picture stays a picture.

    Reference: Saharia et al. 2022, "Photorealistic text-to-image diffusion models" (Imagen), section 2.3,
    static thresholding.
    """

    low: float = 0.0
    high: float = 1.0

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        del obs

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            return jnp.clip(denoise(x_t, sigma), self.low, self.high)

        return guided


@dataclass(frozen=True)
class DynamicThreshold:
    """`1/2 + clip(z, -r, r) / (2 r)`, `z = 2 D - 1`, r the larger of 1 and the `quantile` of |z| in each picture.

    A picture that strays is compressed as a whole, and not cut off.

    Reference: Saharia et al. 2022 (Imagen), section 2.3, dynamic thresholding.
    """

    quantile: float = 0.995

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ValueError(f"DynamicThreshold.quantile lies in (0, 1], not {self.quantile}.")

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        del obs

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            z = 2.0 * denoise(x_t, sigma) - 1.0
            reach = jnp.quantile(jnp.abs(z), self.quantile, axis=(-3, -2, -1), keepdims=True)
            reach = jnp.maximum(reach, 1.0)
            return 0.5 + 0.5 * jnp.clip(z, -reach, reach) / reach

        return guided


@dataclass(frozen=True)
class ClassifierFree:
    """`D(none) + scale (D(cond) - D(none))` for low <= sigma < high, and `D(cond)` elsewhere; `none` lacks `drop`.

    The network must have been trained with those conditions left out now and then (`targets.dropout`). Cost: one more
    evaluation, inside the interval only where sigma is one number.

    Reference: Ho & Salimans 2022, "Classifier-free diffusion guidance", eq. 6 (w = scale - 1); the interval:
    Kynkäänniemi et al. 2024, "Applying guidance in a limited interval", section 3.

    Raises:
        ValueError: the denoiser cannot be asked under other conditions; put this guidance first.
    """

    scale: float = 1.5
    drop: tuple[str, ...] = ("image",)
    low: float = 0.0
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise ValueError(f"ClassifierFree.low and high are levels, 0 <= low < high, not {self.low}, {self.high}.")

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        del obs
        if not isinstance(denoise, Conditional):
            raise ValueError(
                "ClassifierFree needs a denoiser that can be asked without its conditions (core.Conditional), and this"
                " one cannot; a guidance that wraps the network comes after it."
            )
        return extrapolated(denoise, denoise.given(**dict.fromkeys(self.drop)), self.scale, self.low, self.high)


@dataclass(frozen=True)
class Autoguidance:
    """`W + scale (D - W)` for low <= sigma < high, with W = weak(obs): a smaller or less trained version of the model.

    `weak` takes the observation and gives a denoiser: `lambda obs: method.denoiser(early_params, obs)`. Cost: one
    evaluation of it.

    Reference: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", eq. 4.
    """

    weak: Callable[[Observation], Denoiser]
    scale: float = 1.5
    low: float = 0.0
    high: float = float("inf")

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        return extrapolated(denoise, self.weak(obs), self.scale, self.low, self.high)


def extrapolated(strong: Denoiser, weak: Denoiser, scale: float, low: float, high: float) -> Denoiser:
    """`weak + scale (strong - weak)` for low <= sigma < high, and strong elsewhere."""

    def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
        sigma = jnp.asarray(sigma)
        inside = (low <= sigma) & (sigma < high)
        better = strong(x_t, sigma)

        def beyond() -> Float[Array, "*b h w c"]:
            worse = weak(x_t, sigma)
            return worse + scale * (better - worse)

        if sigma.ndim == 0:
            return jax.lax.cond(inside, beyond, lambda: better)
        return jnp.where(per_image(inside, x_t) > 0, beyond(), better)

    return guided


EXAMPLES = (
    {"name": "diffusion.guidance.Threshold"},
    {"name": "diffusion.guidance.DynamicThreshold"},
    {"name": "diffusion.guidance.ClassifierFree", "scale": 2.0, "low": 0.1, "high": 1.0},
)
