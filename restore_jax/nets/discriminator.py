"""A network that judges patches: each logit sees a square of the picture and says how real it looks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.layers import LayerNorm


def largest_singular(kernel: Float[Array, "k k c d"]) -> Float[Array, ""]:
    """The largest singular value of a kernel as the matrix `(k k c, d)`, exact to rounding: O(d^3).

    Reference: Miyato et al. 2018, "Spectral normalization for generative adversarial networks", section 2.1, where it
    is found by power iteration.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    return jnp.sqrt(jnp.linalg.eigvalsh(gram)[-1])


class PatchConv(nn.Module):
    """A convolution 4x4; with `spectral`, its kernel divided by its largest singular value."""

    features: int
    stride: int
    spectral: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W d"]:
        """`ceil(h / stride)` by `ceil(w / stride)` pixels of `features` channels."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (4, 4, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.spectral:
            kernel = kernel / jnp.maximum(largest_singular(kernel), 1e-12)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        strides = (self.stride, self.stride)
        x = jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return x + bias.reshape(1, 1, 1, -1)


class PatchDiscriminator(nn.Module):
    """`strides` convolutions of stride 2 and two of stride 1, 4x4 each; logits that see `receptive_px` squared.

    Channels double from `width` up to 8 times it. Normalisation is over the channels of a pixel, where the paper's is
    over the batch: what is said of a picture then does not depend on its neighbours, as the gradient penalty needs;
    the first and the last convolution have none. With `spectral` every kernel has spectral norm 1, and no other
    normalisation is used.

    Reference: Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", appendix 6.1.2.
    """

    width: int = 64
    strides: int = 3
    spectral: bool = False
    dtype: Any = None

    @property
    def receptive_px(self) -> int:
        """The side of the square that a logit sees: 70 for 3 strides."""
        side = 7  # two convolutions 4x4 of stride 1
        for _ in range(self.strides):
            side = 2 * side + 2
        return side

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], cond: Float[Array, "b h w k"] | None = None
    ) -> Float[Array, "b H W 1"]:
        """One logit for each `2^strides` pixels a side; pictures of any size, in [-1, 1]."""
        h = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], axis=-1)
        for k in range(self.strides + 1):
            channels = self.width * min(2**k, 8)
            stride = 2 if k < self.strides else 1
            h = PatchConv(channels, stride, self.spectral, self.dtype, name=f"conv{k}")(h)
            if k and not self.spectral:
                h = LayerNorm(dtype=self.dtype, name=f"norm{k}")(h)
            h = jax.nn.leaky_relu(h, 0.2)
        return PatchConv(1, 1, self.spectral, self.dtype, name="head")(h).astype(x.dtype)
