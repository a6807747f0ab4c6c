"""RLFN: blocks of three 3x3 convolutions and a gate, for super-resolution.

    block   y = Act(Conv3(Act(Conv3(Act(Conv3(x))))))
            out = ESA(Conv1(x + y))
    net     PixelShuffle(Conv3(stem + Conv3(blocks(stem))))        stem = Conv3(x)

Reference: Kong et al. 2022, "Residual Local Feature Network for Efficient Super-Resolution", figures 2 and 3.
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


class ResidualLocalBlock(nn.Module):
    """One block; `mid` channels between its convolutions, `esa` inside its attention.

    Reference: Kong et al. 2022, the RLFB.
    """

    mid: int
    esa: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        c, y = x.shape[-1], x
        for i, features in enumerate((self.mid, self.mid, c)):
            y = nn.leaky_relu(Conv(features, (3, 3), dtype=self.dtype, name=f"conv{i}")(y), SLOPE)
        y = PointwiseConv(c, dtype=self.dtype, name="fuse")(x + y)
        return ESA(self.esa, depth=1, dtype=self.dtype, name="esa")(y)


class RLFN(nn.Module):
    """The net: 544 k parameters as in the paper, 317 k as in the challenge.

    The latter (`width` 46, `mid` 48, 4 blocks) won the runtime track of NTIRE 2022.

    Reference: Kong et al. 2022, figure 2.

    Raises:
        ValueError: a field is below 1.
    """

    width: int = 52
    mid: int = 52
    esa: int = 16
    blocks: int = 6
    scale: int = 4
    dtype: Any = None

    local = False

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, width=1, mid=1, esa=1, blocks=1, scale=1)

    @property
    def factor(self) -> int:
        """The pixels of the answer for one of x."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """How far the 3x3 convolutions see; the gates see further."""
        return (3 * self.blocks + 3) * self.scale

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
        h = stem
        for i in range(self.blocks):
            h = ResidualLocalBlock(self.mid, self.esa, dtype, name=f"block{i}")(h)
        h = stem + Conv(self.width, (3, 3), dtype=dtype, name="body")(h)
        out = Conv(c * self.scale**2, (3, 3), dtype=dtype, name="upsampler")(h)
        return pixel_shuffle(out, self.scale).astype(x.dtype)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The names of the challenge's repository; its pictures are in [0, 255]."""
    width, channels = w.shape("fea_conv.weight")[:2]
    mid, esa = w.shape("B1.c1_r.weight")[0], w.shape("B1.esa.conv1.weight")[0]
    blocks = count_blocks(w, "B{}.c1_r.weight")
    scale, upsampler = upsampler_weights(w, "upsampler.0", channels)
    params: dict = {
        "stem": rescaled(w.conv("fea_conv"), inputs=255),
        "body": w.conv("LR_conv"),
        "upsampler": rescaled(upsampler, outputs=255),
    }
    for i in range(blocks):
        b = f"B{i + 1}"
        params[f"block{i}"] = {f"conv{j}": w.conv(f"{b}.c{j + 1}_r") for j in range(3)} | {
            "fuse": w.dense(f"{b}.c5"),
            "esa": esa_weights(w, f"{b}.esa", ("conv3",)),
        }
    spec = {"name": "nets.rlfn.RLFN", "width": width, "mid": mid, "esa": esa, "blocks": blocks, "scale": scale}
    return spec, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.rlfn.RLFN", "width": 8, "mid": 6, "esa": 4, "blocks": 1},)
