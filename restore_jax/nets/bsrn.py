"""BSRN: the distilling net of RFDN with blueprint separable convolutions, for super-resolution.

    block   r_0 = x;  d_i = GELU(Conv1(r_{i-1})),  r_i = GELU(BSConv3(r_{i-1}) + r_{i-1})      i = 1, 2, 3
            y = ESA(Conv1([d_1, d_2, d_3, GELU(BSConv3(r_3))]))
            out = x + CCA(y)                        BSRN
            out = x + Conv1(weights y)              BSRN-S, weights: one a channel
    net     PixelShuffle(Conv3(stem + BSConv3(GELU(Conv1([block_1, ..., block_n])))))       stem = BSConv3(x)

Reference: Li et al. 2022, "Blueprint Separable Residual Network for Efficient Image Super-Resolution".
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.attention import gelu
from restore_jax.nets.conv import Conv
from restore_jax.nets.esa import (
    ESA,
    BlueprintConv,
    blueprint_weights,
    check_at_least,
    count_blocks,
    dense_conv,
    esa_weights,
    upsampler_weights,
)
from restore_jax.nets.imdn import contrast
from restore_jax.nets.layers import PointwiseConv, per_channel, pixel_shuffle
from restore_jax.nets.torch_weights import Unfit, Weights


class ContrastAttention(nn.Module):
    """Contrast-aware channel attention: `x sigmoid(Conv1(relu(Conv1(std(x) + mean(x)))))`, one number a channel.

    The derivative of the deviation of a flat channel is taken to be zero.

    Reference: Hui et al. 2019, "Lightweight Image Super-Resolution with Information Multi-distillation Network"
    (the CCA layer).
    """

    hidden: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The gated picture."""
        y = nn.relu(PointwiseConv(self.hidden, dtype=self.dtype, name="squeeze")(contrast(x).astype(x.dtype)))
        return x * nn.sigmoid(PointwiseConv(x.shape[-1], dtype=self.dtype, name="expand")(y))


class SeparableDistillationBlock(nn.Module):
    """One block; `esa` channels inside its spatial attention, `cca` inside its channel attention.

    Reference: Li et al. 2022, the ESDB; `small`: as submitted to the challenge.
    """

    esa: int
    cca: int
    small: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        c, dtype, kept = x.shape[-1], self.dtype, []
        conv = functools.partial(BlueprintConv, pointwise_bias=self.small)
        h = x
        for i in range(3):
            kept.append(gelu(PointwiseConv(c // 2, dtype=dtype, name=f"distil{i}")(h)))
            h = gelu(conv(c, dtype=dtype, name=f"refine{i}")(h) + h)
        kept.append(gelu(conv(c // 2, dtype=dtype, name="refine3")(h)))
        y = PointwiseConv(c, dtype=dtype, name="fuse")(jnp.concatenate(kept, -1))
        down = dense_conv if self.small else conv
        y = ESA(self.esa, activation=gelu, conv=conv, down=down, dtype=dtype, name="esa")(y)
        if self.small:
            weights = self.param("weights", nn.initializers.ones, (c,))
            return x + PointwiseConv(c, dtype=dtype, name="out")(y * per_channel(weights, y).astype(y.dtype))
        return x + ContrastAttention(self.cca, dtype, name="cca")(y)


class BSRN(nn.Module):
    """The net: 352 k parameters, or BSRN-S with 156 k.

    BSRN-S (`small`, `width` 48, `esa` 12, 5 blocks) won the model complexity track of NTIRE 2022.

    The paper's first layer takes the picture four times over; a layer that takes it once has the same functions.

    Reference: Li et al. 2022, figure 2.

    Raises:
        ValueError: a field is below 1, or `width` below 2.
    """

    width: int = 64
    esa: int = 16
    cca: int = 4
    blocks: int = 8
    scale: int = 4
    small: bool = False
    dtype: Any = None

    local = False

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, width=2, esa=1, cca=1, blocks=1, scale=1)

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
        conv = functools.partial(BlueprintConv, pointwise_bias=self.small, dtype=dtype)
        stem = conv(self.width, name="stem")(x if cond is None else jnp.concatenate([x, cond], -1))
        h, outs = stem, []
        for i in range(self.blocks):
            h = SeparableDistillationBlock(self.esa, self.cca, self.small, dtype, name=f"block{i}")(h)
            outs.append(h)
        h = gelu(PointwiseConv(self.width, dtype=dtype, name="fuse")(jnp.concatenate(outs, -1)))
        h = stem + conv(self.width, name="body")(h)
        out = Conv(c * self.scale**2, (3, 3), dtype=dtype, name="upsampler")(h)
        return pixel_shuffle(out, self.scale).astype(x.dtype)


def repeated_stem(w: Weights, name: str, repeats: int = 4) -> tuple[int, dict]:
    """The picture's channels, and a `BlueprintConv` for it from one for the picture `repeats` times over.

    Raises:
        Unfit: its input channels are not a multiple of `repeats`.
    """
    inputs = w.shape(f"{name}.pw.weight")[1]
    if inputs % repeats:
        raise Unfit(f"{name}.pw.weight")
    stem = blueprint_weights(w, name)
    kernel = stem["pw"]["kernel"]
    stem["pw"]["kernel"] = kernel.reshape(repeats, inputs // repeats, -1).sum(0)
    return inputs // repeats, stem


def distillation_weights(w: Weights, name: str) -> dict:
    """The four depths and their fusion of a block, from a state dict; LKDN has the same."""
    return {
        **{f"distil{j}": w.dense(f"{name}.c{j + 1}_d") for j in range(3)},
        **{f"refine{j}": blueprint_weights(w, f"{name}.c{j + 1}_r") for j in range(3)},
        "refine3": blueprint_weights(w, f"{name}.c4"),
        "fuse": w.dense(f"{name}.c5"),
    }


def _net(w: Weights) -> tuple[dict, dict]:
    """What BSRN and BSRN-S have in common."""
    width, esa = w.shape("c1.weight")[0], w.shape("B1.esa.conv1.weight")[0]
    blocks = count_blocks(w, "B{}.c1_d.weight")
    channels, stem = repeated_stem(w, "fea_conv")
    scale, upsampler = upsampler_weights(w, "upsampler.upsampleOneStep.0", channels)
    params = {f"block{i}": distillation_weights(w, f"B{i + 1}") for i in range(blocks)}
    params |= {"stem": stem, "fuse": w.dense("c1"), "body": blueprint_weights(w, "c2"), "upsampler": upsampler}
    return {"name": "nets.bsrn.BSRN", "width": width, "esa": esa, "blocks": blocks, "scale": scale}, params


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """BSRN under its authors' names."""
    cca = w.shape("B1.cca.conv_du.0.weight")[0]
    spec, params = _net(w)
    for i in range(spec["blocks"]):
        b = f"B{i + 1}"
        params[f"block{i}"] |= {
            "esa": esa_weights(w, f"{b}.esa", conv=blueprint_weights, down=blueprint_weights),
            "cca": {"squeeze": w.dense(f"{b}.cca.conv_du.0"), "expand": w.dense(f"{b}.cca.conv_du.2")},
        }
    return spec | {"cca": cca}, params


def _from_challenge(w: Weights) -> tuple[dict, dict]:
    """BSRN-S under the names of the challenge's repository, whose 1x1 convolutions are linear layers."""
    w.shape("B1.cw")
    spec, params = _net(w)
    for i in range(spec["blocks"]):
        b = f"B{i + 1}"
        params[f"block{i}"] |= {
            "esa": esa_weights(w, f"{b}.esa", conv=blueprint_weights),
            "weights": w.array(f"{b}.cw").reshape(-1),
            "out": w.dense(f"{b}.conv_out"),
        }
    return spec | {"small": True}, params


TORCH = (_from_torch, _from_challenge)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.bsrn.BSRN", "width": 8, "esa": 4, "cca": 4, "blocks": 1},
    {"name": "nets.bsrn.BSRN", "width": 8, "esa": 4, "blocks": 1, "small": True},
)
