"""A discriminator that need not learn to see: small heads on the features of a net that was trained on ImageNet.

    f_k     features of stage k of EfficientNet-Lite0 at each pixel, fixed
    u_k     sqrt(c_k) f_k / sqrt(|f_k|^2 + eps^2)
    map_k   = Conv1(leaky(Conv3(mix_k u_k))),    mix_k a fixed random matrix, c_k x width

The fixed mix spreads what a stage says over all channels, so that the head cannot cling to the few that tell at once.
What a patch discriminator learns in ten thousand steps, edges and grain and fur, is there in the first.

Reference: Sauer et al. 2021, "Projected GANs converge faster", section 3 (cross-channel mixing; one discriminator a
stage), with heads that judge patches, and without mixing across scales.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.discriminator import PatchConv
from restore_jax.nets.efficientnet import STAGES, features, pretrained

EPS = 1e-3


class ProjectedDiscriminator(nn.Module):
    """One map of logits for each of `stages`; `width` channels a head. With `spectral`, kernels of spectral norm 1.

    A condition is seen as the picture is, its features behind the picture's. The features' weights come with the extra
    "perceptual" and are no parameters: 12 MB of constants of the program. Cost: a forward pass, about 15 kFLOP a
    pixel, for each picture, and as much again for each gradient to it.

    Raises:
        ImportError: at the first call, where the weights are not installed; it says what to install.
        ValueError: no stages, or one that is not there.
    """

    stages: tuple[int, ...] = (0, 1, 2, 4)
    width: int = 64
    spectral: bool = True
    dtype: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages or not set(self.stages) <= set(range(len(STAGES))):
            raise ValueError(
                f"ProjectedDiscriminator.stages are numbers from 0 to {len(STAGES) - 1}, not {self.stages}: "
                "name at least one."
            )

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w 3"], cond: Float[Array, "b h w 3"] | None = None
    ) -> tuple[Float[Array, "b _ _ 1"], ...]:
        """The map of each stage, a logit for each of its pixels; pictures in [-1, 1] of any size."""
        params = jax.lax.optimization_barrier(pretrained())  # else a program is compiled around each constant
        seen = [features(params, 0.5 * (p + 1.0), max(self.stages) + 1) for p in (x, cond) if p is not None]
        return tuple(self._head(k, [one[k] for one in seen]).astype(x.dtype) for k in self.stages)

    def _head(self, k: int, seen: list[Array]) -> Float[Array, "b _ _ 1"]:
        h = jnp.concatenate([_unit(f) for f in seen], axis=-1)
        mix = jax.random.normal(jax.random.key(k), (h.shape[-1], self.width), h.dtype) / jnp.sqrt(h.shape[-1])
        h = PatchConv(self.width, 1, self.spectral, self.dtype, size=3, name=f"conv{k}")(h @ mix)
        h = jax.nn.leaky_relu(h, 0.2)
        return PatchConv(1, 1, self.spectral, self.dtype, size=1, name=f"head{k}")(h)


def _unit(f: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Features of length `sqrt(c)`: as large as if each channel were of variance 1."""
    return jnp.sqrt(f.shape[-1]) * f / jnp.sqrt(jnp.sum(f * f, axis=-1, keepdims=True) + EPS**2)
