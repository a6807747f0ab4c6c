"""LKDN: blueprint separable convolutions and a gate with a large depthwise kernel, for super-resolution.

    block   r_0 = x;  d_i = GELU(Conv1(r_{i-1})),  r_i = GELU(BSConv3(r_{i-1}))      i = 1, 2, 3
            y = Conv1([d_1, d_2, d_3, GELU(BSConv3(r_3))])
            out = x + LN(Conv1(y DilatedDepthwise5(Depthwise5(Conv1(y)))))           every third pixel: 17x17 in all
    net     PixelShuffle(Conv3(stem + BSConv3(GELU(Conv1([block_1, ..., block_n])))))       stem = BSConv3(x)

This is the form it is used in: the parallel branches and the identity that its BSConv3 have in training are merged.

Reference: Xie et al. 2023, "Large Kernel Distillation Network for Efficient Single Image Super-Resolution".
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax
from jaxtyping import Array, Float

from restore_jax.nets.attention import gelu
from restore_jax.nets.bsrn import distillation_weights, repeated_stem
from restore_jax.nets.conv import Conv
from restore_jax.nets.esa import (
    BlueprintConv,
    blueprint_weights,
    check_at_least,
    count_blocks,
    upsampler_weights,
)
from restore_jax.nets.layers import (
    DepthwiseConv,
    LayerNorm,
    PointwiseConv,
    depthwise_conv,
    depthwise_form,
    per_channel,
    pixel_shuffle,
    pixel_unshuffle,
)
from restore_jax.nets.torch_weights import Weights

KERNEL, DILATION = 5, 3


def dilated_depthwise_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k 1 c"], dilation: int
) -> Float[Array, "b h w c"]:
    """`depthwise_conv` with the taps of the kernel `dilation` pixels apart, zeros outside the picture.

    On a CPU the pixels that a kernel meets are put side by side: `dilation^2` pictures as channels, each convolved
    without gaps (exact: zeros appended to a side that `dilation` does not divide are the zeros outside).
    """
    (h, w, c), d = x.shape[1:], dilation
    if depthwise_form(x) == "conv":
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            rhs_dilation=(d, d),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=c,
        )
    x = pixel_unshuffle(jnp.pad(x, [(0, 0), (0, -h % d), (0, -w % d), (0, 0)]), d)
    return pixel_shuffle(depthwise_conv(x, jnp.tile(kernel, d * d)), d)[:, :h, :w]


class DilatedDepthwiseConv(nn.Module):
    """`dilated_depthwise_conv` with a learned `kernel` (k, k, 1, c) and `bias` (c,)."""

    kernel_size: int = KERNEL
    dilation: int = DILATION
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The same size, the same channels."""
        k, c = self.kernel_size, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, 1, c))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return dilated_depthwise_conv(x, kernel, self.dilation) + per_channel(bias, x)


class LargeKernelBlock(nn.Module):
    """One block.

    Reference: Xie et al. 2023, the LKDB.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        c, dtype, kept = x.shape[-1], self.dtype, []
        h = x
        for i in range(3):
            kept.append(gelu(PointwiseConv(c // 2, dtype=dtype, name=f"distil{i}")(h)))
            h = gelu(BlueprintConv(c, dtype=dtype, name=f"refine{i}")(h))
        kept.append(gelu(BlueprintConv(c // 2, dtype=dtype, name="refine3")(h)))
        y = PointwiseConv(c, dtype=dtype, name="fuse")(jnp.concatenate(kept, -1))
        gate = PointwiseConv(c, dtype=dtype, name="gate")(y)
        gate = DepthwiseConv(KERNEL, dtype=dtype, name="gate_near")(gate)
        gate = DilatedDepthwiseConv(dtype=dtype, name="gate_far")(gate)
        y = PointwiseConv(c, dtype=dtype, name="out")(y * gate)
        return x + LayerNorm(epsilon=1e-5, dtype=dtype, name="norm")(y)


class LKDN(nn.Module):
    """The net: 322 k parameters. No pixel sees further than `receptive_px`.

    Reference: Xie et al. 2023, figure 2.

    Raises:
        ValueError: a field is below 1, or `width` below 2.
    """

    width: int = 56
    blocks: int = 8
    scale: int = 4
    dtype: Any = None

    local = True

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, width=2, blocks=1, scale=1)

    @property
    def factor(self) -> int:
        """The pixels of the answer for one of x."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """How far an output pixel sees: 4 by the 3x3, 2 and 6 by the gate in a block, 3 outside of them, in x."""
        block = 4 + KERNEL // 2 * (1 + DILATION)
        return (block * self.blocks + 3) * self.scale

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b"] | None = None,
        cond: Float[Array, "b h w d"] | None = None,
    ) -> Float[Array, "b H W c"]:
        """The picture, `scale` times as large; `cond` are further channels of its size."""
        dtype, c = self.dtype, x.shape[-1]
        stem = BlueprintConv(self.width, dtype=dtype, name="stem")(
            x if cond is None else jnp.concatenate([x, cond], -1)
        )
        h, outs = stem, []
        for i in range(self.blocks):
            h = LargeKernelBlock(dtype, name=f"block{i}")(h)
            outs.append(h)
        h = gelu(PointwiseConv(self.width, dtype=dtype, name="fuse")(jnp.concatenate(outs, -1)))
        h = stem + BlueprintConv(self.width, dtype=dtype, name="body")(h)
        out = Conv(c * self.scale**2, (3, 3), dtype=dtype, name="upsampler")(h)
        return pixel_shuffle(out, self.scale).astype(x.dtype)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names, for the merged form."""
    width, blocks = w.shape("c1.weight")[0], count_blocks(w, "B{}.atten.pointwise.weight")
    channels, stem = repeated_stem(w, "fea_conv")
    scale, upsampler = upsampler_weights(w, "upsampler.0", channels)
    params = {"stem": stem, "fuse": w.dense("c1"), "body": blueprint_weights(w, "c2"), "upsampler": upsampler}
    for i in range(blocks):
        b = f"B{i + 1}"
        params[f"block{i}"] = distillation_weights(w, b) | {
            "gate": w.dense(f"{b}.atten.pointwise"),
            "gate_near": w.conv(f"{b}.atten.depthwise"),
            "gate_far": w.conv(f"{b}.atten.depthwise_dilated"),
            "out": w.dense(f"{b}.c6"),
            "norm": w.norm(f"{b}.pixel_norm"),
        }
    return {"name": "nets.lkdn.LKDN", "width": width, "blocks": blocks, "scale": scale}, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.lkdn.LKDN", "width": 8, "blocks": 1},)
