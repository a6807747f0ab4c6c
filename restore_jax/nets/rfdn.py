"""RFDN: blocks that keep half the channels at each of four depths and fuse them, for super-resolution.

    block   r_0 = x;  d_i = Act(Conv1(r_{i-1})),  r_i = Act(Conv3(r_{i-1}) + r_{i-1})      i = 1, 2, 3
            out = ESA(Conv1([d_1, d_2, d_3, Act(Conv3(r_3))]))
    net     PixelShuffle(Conv3(stem + Conv3(Act(Conv1([block_1, ..., block_n])))))       stem = Conv3(x)

Reference: Liu, Tang & Wu 2020, "Residual Feature Distillation Network for Lightweight Image Super-Resolution".
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.esa import ESA, check_at_least, count_blocks, esa_weights, upsampler_weights
from restore_jax.nets.layers import PointwiseConv, pixel_shuffle
from restore_jax.nets.torch_weights import Weights, rescaled

SLOPE = 0.05


class FeatureDistillationBlock(nn.Module):
    """One block; `esa` channels inside its attention.

    Reference: Liu, Tang & Wu 2020, the RFDB.
    """

    esa: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        c, dtype, kept = x.shape[-1], self.dtype, []
        for i in range(3):
            kept.append(PointwiseConv(c // 2, dtype=dtype, name=f"distil{i}")(x))
            x = nn.leaky_relu(Conv(c, (3, 3), dtype=dtype, name=f"refine{i}")(x) + x, SLOPE)
        kept.append(Conv(c // 2, (3, 3), dtype=dtype, name="refine3")(x))
        y = nn.leaky_relu(jnp.concatenate(kept, -1), SLOPE)
        return ESA(self.esa, dtype=dtype, name="esa")(PointwiseConv(c, dtype=dtype, name="fuse")(y))


class RFDN(nn.Module):
    """The net; with 4 blocks of 50 channels it has 433 k parameters and won the AIM 2020 challenge.

    Reference: Liu, Tang & Wu 2020, figure 1.

    Raises:
        ValueError: a field is below 1, or `width` below 2.
    """

    width: int = 50
    esa: int = 12
    blocks: int = 4
    scale: int = 4
    dtype: Any = None

    local = False

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, width=2, esa=1, blocks=1, scale=1)

    @property
    def factor(self) -> int:
        """The pixels of the answer for one of x."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """How far the 3x3 convolutions see; the gates see further."""
        return (4 * self.blocks + 3) * self.scale

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b"] | None = None,
        cond: Float[Array, "b h w d"] | None = None,
    ) -> Float[Array, "b H W c"]:
        """The picture, `scale` times as large; `cond` are further channels of its size."""
        dtype, c = self.dtype, x.shape[-1]
        stem = Conv(self.width, (3, 3), dtype=dtype, name="stem")(x if cond is None else jnp.concatenate([x, cond], -1))
        h, outs = stem, []
        for i in range(self.blocks):
            h = FeatureDistillationBlock(self.esa, dtype, name=f"block{i}")(h)
            outs.append(h)
        h = PointwiseConv(self.width, dtype=dtype, name="fuse")(jnp.concatenate(outs, -1))
        h = stem + Conv(self.width, (3, 3), dtype=dtype, name="body")(nn.leaky_relu(h, SLOPE))
        out = Conv(c * self.scale**2, (3, 3), dtype=dtype, name="upsampler")(h)
        return pixel_shuffle(out, self.scale).astype(x.dtype)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The names of the authors, whose pictures are in [0, 255]."""
    width, channels = w.shape("fea_conv.weight")[:2]
    esa = w.shape("B1.esa.conv1.weight")[0]
    blocks = count_blocks(w, "B{}.c1_d.weight")
    scale, upsampler = upsampler_weights(w, "upsampler.0", channels)
    params: dict = {
        "stem": rescaled(w.conv("fea_conv"), inputs=255),
        "fuse": w.dense("c.0"),
        "body": w.conv("LR_conv"),
        "upsampler": rescaled(upsampler, outputs=255),
    }
    for i in range(blocks):
        b = f"B{i + 1}"
        params[f"block{i}"] = {
            **{f"distil{j}": w.dense(f"{b}.c{j + 1}_d") for j in range(3)},
            **{f"refine{j}": w.conv(f"{b}.c{j + 1}_r") for j in range(3)},
            "refine3": w.conv(f"{b}.c4"),
            "fuse": w.dense(f"{b}.c5"),
            "esa": esa_weights(w, f"{b}.esa"),
        }
    return {"name": "nets.rfdn.RFDN", "width": width, "esa": esa, "blocks": blocks, "scale": scale}, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.rfdn.RFDN", "width": 8, "esa": 4, "blocks": 2},)
