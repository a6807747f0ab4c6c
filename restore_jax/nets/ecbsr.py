"""ECBSR: super-resolution whose convolutions are trained with edge filters beside them, and deployed as one 3x3 each.

    block   PReLU(Conv3(x) + Conv3(Conv1(x)) + sum_e scale_e (mask_e * Conv1_e(x)))    masks: Sobel x, Sobel y, Laplace
    net     shuffle(blocks(x) + x)                                x into each pixel of its cell: the nearest neighbour

Reference: Zhang et al. 2021, "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices".
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import PointwiseConv, depthwise_conv, per_channel, pixel_shuffle
from restore_jax.nets.torch_weights import Unfit, Weights, shuffled

MASKS = np.array(
    [
        [[1, 0, -1], [2, 0, -2], [1, 0, -1]],  # Sobel x
        [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],  # Sobel y
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],  # Laplace
    ],
    np.float32,
)
EDGES = ("conv1x1_sbx", "conv1x1_sby", "conv1x1_lpl")


class EdgeConv(nn.Module):
    """The edge-oriented block in its training form, without its activation: five branches that add up to one 3x3.

    `squeeze(expand(pad(x)))`: zeros are put around x before the 1x1 `expand`, whose bias then is there too, as the
    paper puts it around what `expand` makes; so the branch is one 3x3 exactly, at the border too. The edge filters add
    up to zero, and would take nothing from a bias of the 1x1 before them: it has none. The biases that are added after
    the filters are all the one of `conv`.

    Reference: Zhang et al. 2021, "Edge-oriented Convolution Block", figure 3 and section 3.
    """

    features: int
    expand: int = 2
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """`x` at its size, with `features` channels."""
        dtype, n = self.dtype, len(MASKS)
        out = Conv(self.features, (3, 3), dtype=dtype, name="conv")(x)
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        wide = PointwiseConv(self.expand * self.features, dtype=dtype, name="expand")(padded)
        out += Conv(self.features, (3, 3), padding="VALID", use_bias=False, dtype=dtype, name="squeeze")(wide)
        # One 1x1 and one depthwise for all filters; zeros around what the 1x1 without a bias makes are zeros around x.
        edges = PointwiseConv(n * self.features, use_bias=False, dtype=dtype, name="edges")(x)
        scale = self.param("edge_scale", nn.initializers.normal(1e-3), (n, self.features))
        edges, scale = promote_dtype(edges, scale, dtype=dtype)
        taps = jnp.asarray(MASKS, scale.dtype).transpose(1, 2, 0)[..., None] * scale[None, None]
        edges = depthwise_conv(edges, taps.reshape(3, 3, 1, -1))
        return out + edges.reshape(*edges.shape[:3], n, -1).sum(3)


def merged(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `ECBSR(deploy=True)` that computes what `ECBSR(deploy=False)` computes with `params`.

        kernel = conv + expand squeeze + sum_e edges_e scale_e mask_e        bias = conv.bias + sum(expand.bias squeeze)

    In float64 on the host, rounded once at the end; not to be traced. What is no `EdgeConv` stays as it is.
    """
    wide = {name for name, layer in params.items() if isinstance(layer, Mapping) and "expand" in layer}
    return {name: _one_conv(layer) if name in wide else layer for name, layer in params.items()}


def _one_conv(layer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    def exact(name: str, leaf: str) -> np.ndarray:
        return np.asarray(layer[name][leaf], np.float64)

    squeeze, scale = exact("squeeze", "kernel"), np.asarray(layer["edge_scale"], np.float64)
    edges = exact("edges", "kernel").reshape(-1, *scale.shape)
    kernel = exact("conv", "kernel") + exact("expand", "kernel") @ squeeze
    kernel += np.einsum("ieo,eo,euv->uvio", edges, scale, MASKS.astype(np.float64))
    bias = exact("conv", "bias") + exact("expand", "bias") @ squeeze.sum((0, 1))
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


class ECBSR(nn.Module):
    """The net: `blocks` blocks of `width` channels between a first and a last one; the last has no activation.

    `deploy` says in which of its two forms, of equal results, the net is: one 3x3 a block, or the `EdgeConv` that is
    trained. The published nets are for the luma of YCbCr, `out_channels=1`.

    Raises:
        ValueError: x with other than `out_channels` channels.

    Reference: Zhang et al. 2021, "Edge-oriented Convolution Block", figure 2; table 3: M4C16 is `blocks=4, width=16`.
    """

    width: int = 16
    blocks: int = 4
    scale: int = 4
    out_channels: int = 3
    deploy: bool = False
    expand: int = 2
    dtype: Any = None

    local = True

    @property
    def factor(self) -> int:
        """A pixel of x becomes `scale` rows: tiles start on a multiple of it."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """A block reaches one pixel of x further, which is `scale` of the answer's."""
        return (self.blocks + 2) * self.scale

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W c"]:
        """`x` enlarged by `scale`; `cond`, of the size of x, is given to the first block beside it."""
        del c_noise
        if x.shape[-1] != self.out_channels:
            raise ValueError(
                f"ECBSR.out_channels={self.out_channels} is what x must have, as it is added to the answer; got "
                f"{x.shape[-1]} channels."
            )

        def conv(features, name):
            if self.deploy:
                return Conv(features, (3, 3), dtype=self.dtype, name=name)
            return EdgeConv(features, self.expand, dtype=self.dtype, name=name)

        h = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        for i in range(self.blocks + 1):
            h = conv(self.width, f"block{i}")(h)
            slope = self.param(f"slope{i}", nn.initializers.constant(0.25), (self.width,))
            h = jnp.where(h > 0, h, h * per_channel(slope, h).astype(h.dtype))
        h = conv(self.out_channels * self.scale**2, f"block{self.blocks + 1}")(h).astype(x.dtype)
        return pixel_shuffle(h + jnp.concatenate([x] * self.scale**2, axis=-1), self.scale)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The published names: `backbone.N.conv3x3` and its four branches, or, deployed, `backbone.N.conv3x3` alone.

    Whether a block was trained with a shortcut around it is not written in a file of branches; the published
    configurations have none, and none is assumed. A deployed file has it in its kernels."""
    last = w.count("backbone.{}.conv3x3.weight") - 1
    width, channels, *_ = w.shape("backbone.0.conv3x3.weight")
    scale = isqrt(w.shape(f"backbone.{last}.conv3x3.weight")[0] // channels)
    deploy = "backbone.0.conv1x1_3x3.k0" not in w
    spec = {"name": "nets.ecbsr.ECBSR", "width": width, "blocks": last - 1, "scale": scale, "out_channels": channels}
    if not deploy:
        spec["expand"] = w.shape("backbone.0.conv1x1_3x3.k0")[0] // width
    params: dict[str, Any] = {}
    for i in range(last + 1):
        block = w.conv(f"backbone.{i}.conv3x3") if deploy else _branches(w, f"backbone.{i}")
        if i < last:
            params[f"slope{i}"] = w.array(f"backbone.{i}.act.weight").reshape(-1)
        params[f"block{i}"] = block
    if w.missing:
        raise Unfit(min(w.missing))
    params[f"block{last}"] = _shuffled(params[f"block{last}"], scale)
    return spec | {"deploy": deploy}, params


def _branches(w: Weights, name: str) -> dict[str, Any]:
    """A block's branches, all biases that are added at the end in one."""
    conv = w.conv(f"{name}.conv3x3")
    bias = conv["bias"] + w.array(f"{name}.conv1x1_3x3.b1").reshape(-1)
    expand = {"kernel": _dense(w, f"{name}.conv1x1_3x3.k0"), "bias": w.array(f"{name}.conv1x1_3x3.b0").reshape(-1)}
    squeeze = w.array(f"{name}.conv1x1_3x3.k1").transpose(2, 3, 1, 0)
    kernels, scales = [], []
    for edge, mask in zip(EDGES, MASKS):
        if (w.array(f"{name}.{edge}.mask") != mask).any():
            raise Unfit(f"{name}.{edge}.mask with {mask.tolist()}")
        kernels.append(_dense(w, f"{name}.{edge}.k0"))
        scales.append(w.array(f"{name}.{edge}.scale").reshape(-1))
        bias = bias + w.array(f"{name}.{edge}.bias").reshape(-1)
        w.ignore(f"{name}.{edge}.b0")  # a filter that adds up to zero takes nothing from it
    return {
        "conv": conv | {"bias": bias},
        "expand": expand,
        "squeeze": {"kernel": squeeze},
        "edges": {"kernel": np.concatenate(kernels, -1)},
        "edge_scale": np.stack(scales),
    }


def _dense(w: Weights, name: str) -> np.ndarray:
    kernel = w.array(name)
    return kernel.reshape(kernel.shape[:2]).T


def _shuffled(block: Mapping[str, Any], r: int) -> dict[str, Any]:
    """The block before the pixel shuffle, as `torch_weights.shuffled` has it for a convolution."""
    if "conv" not in block:
        return shuffled(block, r)
    edges, scale = block["edges"]["kernel"], block["edge_scale"]
    edges = shuffled({"kernel": edges.reshape(-1, *scale.shape)}, r)["kernel"].reshape(edges.shape)
    moved = {"edges": {"kernel": edges}} | shuffled({"edge_scale": scale}, r)
    return {**block, "conv": shuffled(block["conv"], r), "squeeze": shuffled(block["squeeze"], r), **moved}


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.ecbsr.ECBSR", "width": 8, "blocks": 1, "scale": 2},
    {"name": "nets.ecbsr.ECBSR", "width": 8, "blocks": 2, "deploy": True},
)
