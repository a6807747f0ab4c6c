"""A perceptual distance that needs no download: features of EfficientNet-Lite0, trained on ImageNet.

It is not LPIPS: another network, and no weights fitted to what people said. Its numbers compare with one another only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import check_channels, same_shape, unit_range
from restore_jax.nets.efficientnet import STAGES, features, installed, pretrained


@dataclass(frozen=True)
class Perceptual:
    """The EfficientNet-Lite0 perceptual distance, for pictures in [0, 1], sRGB; 0 for equal ones, lower is better.

        f_k = features of stage k at each pixel,    u_k = f_k / sqrt(|f_k|^2 + eps^2)
        distance = mean over stages k of the mean over pixels of |u_k(x_hat) - u_k(x)|^2

    so that each stage gives a number from 0 to 4: twice (1 - cosine) between what the network saw. Grey pictures are
    taken as three equal channels. Works from 1 x 1 pixel; below 32 x 32 the last stages are a single pixel.

    The weights come with the extra "perceptual" and are read at the first call. Under `jax.jit` they are constants of
    the program, 12 MB with all stages; to hand them over instead, as a training state's `frozen` part, call
    `distance(params, x_hat, x)` with `params = nets.efficientnet.pretrained()`.

    Cost: two forward passes, about 15 kFLOP a pixel each; only as far as the last stage that is asked for.

    Raises:
        ImportError: at the first call, where the weights are not installed; it says what to install.
        ValueError: no stages, a stage that is not there, a picture of other than 1 or 3 channels, or clearly
            outside [0, 1] where its values are known.

    Reference: the unit-normalised features of Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric", eq. 1, with w = 1 and another network.
    """

    stages: tuple[int, ...] = (0, 1, 2, 4, 6)  # the last of each size: 1/2, 1/4, 1/8, 1/16, 1/32
    eps: float = 1e-3

    def __post_init__(self):
        known = range(len(STAGES))
        if not self.stages or not set(self.stages) <= set(known) or len(set(self.stages)) < len(self.stages):
            raise ValueError(
                f"Perceptual.stages are different numbers from 0 to {known[-1]}, not {self.stages}: name at least one."
            )
        if not self.eps > 0:
            raise ValueError(f"Perceptual.eps keeps the gradient finite and must be above 0, not {self.eps}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, from 0 to 4."""
        unit_range("Perceptual", x_hat, x)
        # Behind a barrier, so that a program which holds the weights as constants is not compiled around each.
        return self.distance(jax.lax.optimization_barrier(pretrained()), x_hat, x)

    def distance(
        self, params: Mapping[str, Any], x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]
    ) -> Float[Array, "*b"]:
        """The same under these parameters of `EfficientNetLite0`."""
        same_shape(x_hat, x)
        check_channels("Perceptual", x)
        pair = [jnp.broadcast_to(p, (*p.shape[:-1], 3)).reshape(-1, *p.shape[-3:-1], 3) for p in (x_hat, x)]
        one, other = (features(params, p, max(self.stages) + 1) for p in pair)
        each = [_between(self._unit(one[k]), self._unit(other[k])) for k in self.stages]
        return (sum(each[1:], each[0]) / len(each)).reshape(x.shape[:-3]).astype(x.dtype)

    def _unit(self, f: Array) -> Array:
        return f / jnp.sqrt(jnp.sum(f * f, axis=-1, keepdims=True) + self.eps**2)


def _between(u: Array, v: Array) -> Array:
    return jnp.mean(jnp.sum((u - v) ** 2, axis=-1), axis=(-2, -1))


# A law-suite can hold it to its laws only where its weights are.
EXAMPLES = ({"name": "metrics.perceptual.Perceptual", "stages": (0, 2)},) if installed() else ()
