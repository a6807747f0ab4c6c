"""IMDN: each block sets a part of its channels aside after every convolution, and weighs them all at the end.

    block   x + Conv1(attention([d1, d2, d3, d4])),   d_k, r_k = split(lrelu(Conv3(r_(k-1)))), r_0 = x, d4 = Conv3(r3)
    attention(x) = x * sigmoid(Conv1(relu(Conv1(std(x) + mean(x)))))      a number an image and channel
    net     pixel_shuffle(Conv3(h + Conv3(lrelu(Conv1([b_1, ..., b_n])))))

Reference: Hui et al. 2019, "Lightweight image super-resolution with information multi-distillation network",
figures 2 to 4.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.attention import picture_mean
from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import PointwiseConv, pixel_shuffle
from restore_jax.nets.torch_weights import Weights, shuffled

SLOPE = 0.05


def contrast(x: Float[Array, "b h w c"]) -> Float[Array, "b 1 1 c"]:
    """`std(x) + mean(x)` over the pixels, exact; flat channels have a gradient of zero, not of infinity, in `std`.

    Reference: Hui et al. 2019, eq. 3.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = picture_mean(x)
    variance = picture_mean(jnp.square(x - mean))
    std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
    return std + mean


class DistillationBlock(nn.Module):
    """Four convolutions that set `distilled` channels aside each, weighed by the contrast of each channel.

    Reference: Hui et al. 2019, figure 3.
    """

    distilled: int = 16
    squeezed: int = 4
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        c, dtype, rest, kept = x.shape[-1], self.dtype, x, []
        for k in (1, 2, 3):
            h = jax.nn.leaky_relu(Conv(c, (3, 3), dtype=dtype, name=f"conv{k}")(rest), SLOPE)
            kept.append(h[..., : self.distilled])
            rest = h[..., self.distilled :]
        kept.append(Conv(self.distilled, (3, 3), dtype=dtype, name="conv4")(rest))
        h = jnp.concatenate(kept, -1)
        weight = jax.nn.relu(PointwiseConv(self.squeezed, dtype=dtype, name="squeeze")(contrast(h)))
        weight = jax.nn.sigmoid(PointwiseConv(h.shape[-1], dtype=dtype, name="excite")(weight))
        return x + PointwiseConv(c, dtype=dtype, name="conv5")(h, weight)


class IMDN(nn.Module):
    """`blocks` blocks whose answers are all joined; `distilled` of `width` channels are set aside at a time.

    Raises:
        ValueError: `scale` is below 1, or `distilled` leaves no channel of `width`.

    Reference: Hui et al. 2019, figure 2: width 64, 6 blocks, a quarter distilled.
    """

    width: int = 64
    blocks: int = 6
    distilled: int = 16
    squeezed: int = 4
    scale: int = 4
    out_channels: int = 3
    dtype: Any = None

    local = False  # the contrast is of the whole picture

    @property
    def factor(self) -> int:
        """No downsampling: tiles start anywhere."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """Of the convolutions alone: four a block and three more."""
        return self.scale * (4 * self.blocks + 3)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        if self.scale < 1:
            raise ValueError(f"IMDN.scale must be 1 or more, got {self.scale}.")
        if not 0 < self.distilled < self.width:
            raise ValueError(f"IMDN.distilled must be between 0 and width {self.width}, got {self.distilled}.")
        dtype = self.dtype
        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        first = h = Conv(self.width, (3, 3), dtype=dtype, name="first")(stem)
        found = []
        for i in range(self.blocks):
            h = DistillationBlock(self.distilled, self.squeezed, dtype, name=f"block{i}")(h)
            found.append(h)
        h = jax.nn.leaky_relu(PointwiseConv(self.width, dtype=dtype, name="join")(jnp.concatenate(found, -1)), SLOPE)
        h = first + Conv(self.width, (3, 3), dtype=dtype, name="body")(h)
        h = Conv(self.out_channels * self.scale**2, (3, 3), dtype=dtype, name="last")(h)
        return pixel_shuffle(h.astype(x.dtype), self.scale)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names; the net gives as many channels as it takes."""
    width, channels = w.shape("fea_conv.weight")[:2]
    blocks = 0
    while f"IMDB{blocks + 1}.c1.weight" in w:
        blocks += 1
    distilled = w.shape("IMDB1.c4.weight")[0]
    squeezed = w.shape("IMDB1.cca.conv_du.0.weight")[0]
    scale = round((w.shape("upsampler.0.weight")[0] / channels) ** 0.5)
    params: dict[str, Any] = {
        "first": w.conv("fea_conv"),
        "join": w.dense("c.0"),
        "body": w.conv("LR_conv"),
        "last": shuffled(w.conv("upsampler.0"), scale),
    }
    for i in range(blocks):
        name = f"IMDB{i + 1}"
        params[f"block{i}"] = {f"conv{k}": w.conv(f"{name}.c{k}") for k in (1, 2, 3, 4)} | {
            "conv5": w.dense(f"{name}.c5"),
            "squeeze": w.dense(f"{name}.cca.conv_du.0"),
            "excite": w.dense(f"{name}.cca.conv_du.2"),
        }
    spec = {"name": "nets.imdn.IMDN", "width": width, "blocks": blocks, "distilled": distilled, "squeezed": squeezed}
    return spec | {"scale": scale, "out_channels": channels}, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.imdn.IMDN", "width": 8, "blocks": 2, "distilled": 2, "squeezed": 2, "scale": 2},
)
