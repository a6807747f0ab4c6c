"""SPAN: attention without parameters, for super-resolution on devices.

    block   o = Conv3(SiLU(Conv3(SiLU(Conv3(x))))),   (o + x) (sigmoid(o) - 1/2)
    net     f = Conv3(x - mean),   shuffle(Conv3(Conv1[f, Conv3(blocks(f)), first block, first SiLU of the last]))

It is trained wide and deployed narrow: each 3x3 but the last is, in training, `Conv1(Conv3(Conv1(x))) + Conv1(x)`
(`Conv3XC`), which is linear, and so one 3x3 (`merged`).

Reference: Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient Super-Resolution", figures 2 and 3.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import PointwiseConv, per_channel, pixel_shuffle
from restore_jax.nets.ncnn_file import Layer, NcnnGraph
from restore_jax.nets.torch_weights import Unfit, Weights, rescaled, shuffled

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K; the published code has it, not the files
WHITE = 255.0


class Conv3XC(nn.Module):
    """A 3x3 convolution in its training form: `reduce(conv(expand(pad(x)))) + skip(x)`, of 1x1, 3x3, 1x1 and 1x1.

    Zeros are put around x before `expand`, whose bias then is there too, at the border as inside: so that the whole is
    one 3x3 with zeros around x and the same bias everywhere, exactly. Costs
    `gain (c_in^2 + 9 gain c_in c + c^2) + c_in c` multiply-adds a pixel, instead of `9 c_in c`.
    """

    features: int
    gain: int = 2
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """`x` at its size, with `features` channels."""
        dtype = self.dtype
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        h = PointwiseConv(self.gain * x.shape[-1], dtype=dtype, name="expand")(padded)
        h = Conv(self.gain * self.features, (3, 3), padding="VALID", dtype=dtype, name="conv")(h)
        h = PointwiseConv(self.features, dtype=dtype, name="reduce")(h)
        return h + PointwiseConv(self.features, dtype=dtype, name="skip")(x)


def merged(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `SPAN(deploy=True)` that computes what `SPAN(deploy=False)` computes with `params`.

        kernel = expand conv reduce + skip (in the middle)      bias = (sum(expand.bias conv) + conv.bias) reduce + ...

    In float64 on the host, rounded once at the end; not to be traced. Layers that are one convolution stay as they are.
    """
    return {name: _one_conv(layer) if "expand" in layer else layer for name, layer in params.items()}


def _one_conv(layer: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    (w0, b0), (w1, b1), (w2, b2), (w, b) = (
        [np.asarray(layer[name][leaf], np.float64) for leaf in ("kernel", "bias")]
        for name in ("expand", "conv", "reduce", "skip")
    )
    kernel = w0 @ w1 @ w2
    kernel[1, 1] += w
    bias = (b0 @ w1.sum((0, 1)) + b1) @ w2 + b2 + b
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


class SPAN(nn.Module):
    """The net: `3 blocks + 3` convolutions of 3x3 and `width` channels, and a 1x1 that joins four of them.

    `deploy` says in which of its two forms, of equal results, the net is: one convolution where there is one, or the
    `Conv3XC` that is trained. `mean`, one number a channel, is taken from x before zeros are put around it; `()` takes
    nothing. The published net works on `255 (x - mean)`; here its first kernel is 255 times as large instead.

    Raises:
        ValueError: `mean` has another number of channels than x.

    Reference: Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient Super-Resolution".
    """

    width: int = 48
    blocks: int = 6
    scale: int = 4
    out_channels: int = 3
    mean: tuple[float, ...] = MEAN
    deploy: bool = False
    gain: int = 2
    dtype: Any = None

    local = True

    @property
    def factor(self) -> int:
        """A pixel of x becomes `scale` rows: tiles start on a multiple of it."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """A 3x3 convolution reaches one pixel of x further, which is `scale` of the answer's."""
        return (3 * self.blocks + 3) * self.scale

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged by `scale`; `cond`, of the size of x, is given to the first convolution beside it."""
        del c_noise
        if len(self.mean) not in (0, x.shape[-1]):
            raise ValueError(
                f"SPAN.mean must have one number for each of the {x.shape[-1]} channels of x, or be () to take "
                f"nothing; got {self.mean}."
            )

        def conv(features, name):
            if self.deploy:
                return Conv(features, (3, 3), dtype=self.dtype, name=name)
            return Conv3XC(features, self.gain, dtype=self.dtype, name=name)

        stem = x - per_channel(jnp.asarray(self.mean, x.dtype), x) if self.mean else x
        stem = stem if cond is None else jnp.concatenate([stem, cond.astype(x.dtype)], -1)
        first = h = conv(self.width, "conv1")(stem)
        kept: list[Array] = [h, h]
        for i in range(self.blocks):
            inner = nn.silu(conv(self.width, f"block{i}_conv1")(h))
            o = nn.silu(conv(self.width, f"block{i}_conv2")(inner))
            o = conv(self.width, f"block{i}_conv3")(o)
            h = (o + h) * (nn.sigmoid(o) - 0.5)
            kept = [kept[0] if i else h, inner]
        h = jnp.concatenate([first, conv(self.width, "conv2")(h), *kept], -1)
        h = PointwiseConv(self.width, dtype=self.dtype, name="join")(h)
        h = Conv(self.out_channels * self.scale**2, (3, 3), dtype=self.dtype, name="upsample")(h)
        return pixel_shuffle(h, self.scale).astype(x.dtype)


def _names(blocks: int) -> dict[str, str]:
    """Of the convolutions that are wide in training: ours, and the published ones."""
    inner = {f"block{i}_conv{j}": f"block_{i + 1}.c{j}_r" for i in range(blocks) for j in (1, 2, 3)}
    return {"conv1": "conv_1", **inner, "conv2": "conv_2"}


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The published names. A file that has, as published ones do, the deployed kernel beside its branches
    (`eval_conv`, as old as the last evaluation, so it is not read) is one to deploy: its branches are merged. One with
    branches alone stays wide, to be trained further; one without branches has been merged before."""
    blocks = 0
    while f"block_{blocks + 1}.c1_r.eval_conv.weight" in w or f"block_{blocks + 1}.c1_r.sk.weight" in w:
        blocks += 1
    wide, deploy = "conv_1.sk.weight" in w, "conv_1.eval_conv.weight" in w
    width, channels, *_ = w.shape("conv_1.sk.weight" if wide else "conv_1.eval_conv.weight")
    plain = "no_norm" in w  # of a later variant that takes pictures as they are
    w.ignore("no_norm")
    if not blocks or (channels != len(MEAN) and not plain):
        raise Unfit("conv_1.sk.weight")

    def conv(ours: str, name: str) -> dict[str, Any]:
        white = WHITE if ours == "conv1" and not plain else 1.0
        if not wide:
            return rescaled(w.conv(f"{name}.eval_conv"), inputs=white)
        w.ignore(f"{name}.eval_conv.weight", f"{name}.eval_conv.bias")
        return {
            "skip": rescaled(w.dense(f"{name}.sk"), inputs=white),
            "expand": rescaled(w.dense(f"{name}.conv.0"), inputs=white),
            "conv": w.conv(f"{name}.conv.1"),
            "reduce": w.dense(f"{name}.conv.2"),
        }

    spec = {"name": "nets.span.SPAN", "width": width, "blocks": blocks, "mean": () if plain else MEAN, "deploy": deploy}
    if wide:
        spec["gain"] = w.shape("conv_1.conv.0.weight")[0] // channels
    params = {ours: conv(ours, name) for ours, name in _names(blocks).items()}
    params["join"] = w.dense("conv_cat")
    upsample = w.conv("upsampler.0")
    shape = {"scale": isqrt(upsample["kernel"].shape[-1] // channels), "out_channels": channels}
    params["upsample"] = shuffled(upsample, shape["scale"])
    spec |= shape
    if wide and deploy:
        if w.missing:
            raise Unfit(min(w.missing))
        params = merged(params)
        spec.pop("gain")
    return spec, params


TORCH = (_from_torch,)


def _from_ncnn(graph: NcnnGraph) -> tuple[dict, dict]:
    """The deployed net in ncnn's graph, by the order of what it computes and by what the join is told.

    Raises:
        Unfit: another graph.
    """
    layers = [layer for layer in graph.layers if layer.type != "Split"]
    convs = graph.of_type("Convolution")
    blocks = (len(convs) - 4) // 3
    front = (
        [layer.type for layer in layers[: next((i for i, x in enumerate(layers) if x is convs[0]), 0)]] if convs else []
    )
    block = ["Convolution", "Swish"] * 2 + ["Convolution", "Sigmoid"] + ["BinaryOp"] * 3
    back = ["Convolution", "Concat", "Convolution", "Convolution", "PixelShuffle"]
    if front not in (["Input"], ["Input", *_NORM[:2]], ["Input", *_NORM]) or blocks < 1:
        raise Unfit(f"begins with {front} and has {len(convs)} convolutions")
    if [layer.type for layer in layers[len(front) :]] != ["Convolution"] + blocks * block + back:
        raise Unfit(f"does not go on as {blocks} blocks of 3 convolutions do")

    def conv(layer: Layer) -> dict[str, np.ndarray]:
        weight, bias = (np.asarray(graph.arrays[f"{layer.name}.{leaf}"], np.float32) for leaf in ("weight", "bias"))
        return {"kernel": weight.transpose(2, 3, 1, 0), "bias": bias}

    def made_by(blob: str) -> Layer:
        maker = next(layer for layer in graph.layers if blob in layer.outputs)
        return made_by(maker.inputs[0]) if maker.type == "Split" else maker

    ends = [i for i, layer in enumerate(layers) if layer.type == "Sigmoid"]  # each 3 before its block's last layer
    joined = [convs[0], convs[-3], layers[ends[0] + 3], layers[ends[-1] - 4]]
    if [made_by(blob) for blob in graph.of_type("Concat")[0].inputs] != joined:
        raise Unfit("joins other layers than the first, the last, the first block and inside the last block")
    arithmetic = [layer.values.get(0, 0) for layer in layers if layer.type == "BinaryOp"]
    if arithmetic != [1, 2][: max(len(front) - 2, 0)] + blocks * [1, 0, 2]:
        raise Unfit("adds, subtracts and multiplies in another order")
    if any(layers[end + 1].values.get(2) != 0.5 for end in ends):
        raise Unfit("takes something else than 0.5 from a sigmoid")
    for layer in convs:
        plain = layer.whole(2, 1) == layer.whole(3, 1) == 1 and layer.whole(4) == layer.whole(1) // 2
        if not plain or layer.whole(9) or f"{layer.name}.bias" not in graph.arrays:
            raise Unfit(f"{layer.name} is no plain convolution with a bias")

    mean: tuple[float, ...] = ()
    white = 1.0
    if len(front) > 1:
        numbers = graph.arrays[f"{layers[1].name}.weight"].ravel()
        mean = tuple(float(str(number)) for number in numbers)  # the shortest that is this float32
    if len(front) > 3:
        white = float(layers[3].values.get(2, 0.0))  # type: ignore[arg-type]
    scale = graph.of_type("PixelShuffle")[0].whole(0)
    params: dict[str, Any] = {name: conv(layer) for name, layer in zip(_names(blocks), convs)}
    params["conv1"] = rescaled(params["conv1"], inputs=white)
    join, upsample = conv(convs[-2]), conv(convs[-1])
    params["join"] = join | {"kernel": join["kernel"][0, 0]}
    params["upsample"] = shuffled(upsample, scale)
    width, channels = params["conv2"]["kernel"].shape[-1], upsample["bias"].size // scale**2
    spec = {"name": "nets.span.SPAN", "width": width, "blocks": blocks, "scale": scale, "out_channels": channels}
    return spec | {"mean": mean, "deploy": True}, params


_NORM = ["MemoryData", "BinaryOp", "BinaryOp"]  # minus the mean, times 255
NCNN = (_from_ncnn,)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.span.SPAN", "width": 8, "blocks": 1, "scale": 2},
    {"name": "nets.span.SPAN", "width": 8, "blocks": 2, "mean": (), "deploy": True},
)
