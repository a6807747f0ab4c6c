"""Restormer: a U-shaped restorer whose attention is between channels, and so linear in the picture's size.

    block   y = x + MDTA(norm(x))                                                     attention.TransposedAttention
            z = y + project(gelu(a) b),   a, b = split(depthwise3(pointwise(norm(y))))           gated feed-forward
    net     x + Conv3(refine(decode(latent(encode(Conv3(x))))))

Reference: Zamir et al. 2022, "Restormer: Efficient Transformer for High-Resolution Image Restoration", figure 2.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax import lax
from jaxtyping import Array, Float

from restore_jax.nets.attention import TransposedAttention, gelu
from restore_jax.nets.condition import Film, NoiseEmbedding
from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import (
    DepthwiseConv,
    LayerNorm,
    PointwiseConv,
    at_least_float32,
    pad_to_multiple,
    pixel_shuffle,
    pixel_unshuffle,
)
from restore_jax.nets.torch_weights import Unfit, Weights, shuffled, unshuffled

EPSILON = 1e-5


class ScaleNorm(nn.Module):
    """`x / sqrt(var + epsilon) * scale`, var over channels: a normalisation that leaves the mean, as it has no bias.

    Where noise is to be removed, brightness then passes through the net unhurt.

    Reference: Zamir et al. 2022, the published code's "BiasFree" norm; Mohan et al. 2020, "Robust and Interpretable
    Blind Image Denoising via Bias-Free Convolutional Neural Networks", section 4.
    """

    epsilon: float = EPSILON
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        """Every pixel to unit variance over its channels, then scaled."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        x, scale = promote_dtype(x, scale, dtype=self.dtype)
        (rows,) = at_least_float32(x.reshape(-1, x.shape[-1]))
        variance = jnp.square(rows - rows.mean(-1, keepdims=True)).mean(-1, keepdims=True)
        return (rows * lax.rsqrt(variance + self.epsilon) * scale[None]).reshape(x.shape).astype(x.dtype)


class RestormerBlock(nn.Module):
    """Attention between channels, then a gated feed-forward; with an embedding, both norms are followed by a Film.

    Costs `c^2 (4 + 1 / heads + 3 expansion) + c (27 + 18 expansion)` multiply-adds a pixel.

    Reference: Zamir et al. 2022, sections 3.1 (MDTA) and 3.2 (GDFN).
    """

    heads: int
    expansion: float = 2.66
    use_bias: bool = False
    centred: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b h w c"]:
        """The block applied to `x`, told the noise level if there is an embedding."""
        c, dtype = x.shape[-1], self.dtype
        hidden = int(c * self.expansion)

        def norm(x, name):
            make = LayerNorm if self.centred else ScaleNorm
            y = make(epsilon=EPSILON, dtype=dtype, name=name)(x)
            return y if embedding is None else Film(dtype=dtype, name=f"{name}_film")(y, embedding)

        attention = TransposedAttention(self.heads, self.use_bias, dtype, name="attention")
        x = x + attention(norm(x, "norm1"))
        y = PointwiseConv(2 * hidden, use_bias=self.use_bias, dtype=dtype, name="wide")(norm(x, "norm2"))
        a, b = jnp.split(DepthwiseConv(use_bias=self.use_bias, dtype=dtype, name="wide_conv")(y), 2, axis=-1)
        return x + PointwiseConv(c, use_bias=self.use_bias, dtype=dtype, name="narrow")(gelu(a) * b)


class Restormer(nn.Module):
    """The U of Restormer blocks: level l works at 1 / 2^l of the size, with `width 2^l` channels and `heads[l]` heads.

    `blocks` counts the blocks of each level, the last of which is the bottom; the finest level of the decoder has
    `2 width` channels, and `refinement` blocks more. `centred` norms subtract the mean and have a bias ("WithBias");
    the published Gaussian denoisers' do not. A `dual_pixel` net is given the two views of a pixel side by side, 6
    channels, and answers with the picture itself; any other adds its answer to `x` where `x` has `out_channels`. The
    last convolution starts at zero, so a fresh net with a residual is the identity.

    With `embed > 0` the net is told `c_noise`; with `embed == 0` it ignores it, as in the paper. Any height and width:
    the picture is padded to a multiple of `factor`, and cropped back. The attention sees the whole picture;
    `receptive_px` is how far the convolutions see.

    Raises:
        ValueError: fewer than two levels, not one number of heads a level, heads that do not divide the channels.

    Reference: Zamir et al. 2022, "Restormer", figure 2; sizes: section 4.
    """

    width: int = 48
    blocks: tuple[int, ...] = (4, 6, 6, 8)
    refinement: int = 4
    heads: tuple[int, ...] = (1, 2, 4, 8)
    expansion: float = 2.66
    use_bias: bool = False
    centred: bool = True
    dual_pixel: bool = False
    out_channels: int = 3
    embed: int = 0
    dtype: Any = None

    scale = 1
    local = False

    @property
    def factor(self) -> int:
        """Sides are padded to a multiple of this inside, and tiles should start on one."""
        return 2 ** (len(self.blocks) - 1)

    @property
    def receptive_px(self) -> int:
        """How far the convolutions see: two 3x3 a block at its level, one on the way to each level and back."""
        reach = 0
        for row in range(self.factor):
            low, high = row - 1 - 2 * self.refinement, row + 1 + 2 * self.refinement
            for n in self.blocks[:-1]:
                low, high = (low - 2 * n) // 2 - 1, (high + 2 * n) // 2 + 1
            low, high = low - 2 * self.blocks[-1], high + 2 * self.blocks[-1]
            for n in reversed(self.blocks[:-1]):
                low, high = 2 * low - 1 - 2 * n, 2 * high + 2 + 2 * n
            reach = max(reach, row - (low - 1), high + 1 - row)
        return reach

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """The restored `x`, at its size; `cond` is a further picture, given to the stem beside `x`."""
        dtype, levels = self.dtype, len(self.blocks)
        if levels < 2 or len(self.heads) != levels:
            raise ValueError(
                f"Restormer.blocks and Restormer.heads have one number a level, of two levels or more;"
                f" got blocks={self.blocks} and heads={self.heads}."
            )
        if self.embed and c_noise is None:
            raise ValueError(f"Restormer has embed={self.embed} and must be told c_noise; embed=0 makes it ignore it.")
        embedding = None
        if self.embed and c_noise is not None:
            embedding = NoiseEmbedding(self.embed, dtype=dtype, name="noise")(c_noise)

        def through(h, n, heads, name):
            for i in range(n):
                block = RestormerBlock(heads, self.expansion, self.use_bias, self.centred, dtype, name=f"{name}_{i}")
                h = block(h, embedding)
            return h

        def conv(features, name, **fields):
            return Conv(features, (3, 3), use_bias=False, dtype=dtype, name=name, **fields)

        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        h, (height, width) = pad_to_multiple(stem, self.factor)
        h = shallow = conv(self.width, "patch")(h)
        skips = []
        for level in range(levels - 1):
            h = through(h, self.blocks[level], self.heads[level], f"encoder{level}")
            skips.append(h)
            h = pixel_unshuffle(conv(h.shape[-1] // 2, f"down{level}")(h), 2)
        h = through(h, self.blocks[-1], self.heads[-1], "latent")
        for level in reversed(range(levels - 1)):
            h = pixel_shuffle(conv(2 * h.shape[-1], f"up{level}")(h), 2)
            h = jnp.concatenate([h, skips.pop()], -1)
            if level:
                h = PointwiseConv(h.shape[-1] // 2, use_bias=self.use_bias, dtype=dtype, name=f"reduce{level}")(h)
            h = through(h, self.blocks[level], self.heads[level], f"decoder{level}")
        h = through(h, self.refinement, self.heads[0], "refinement")
        if self.dual_pixel:
            h = h + PointwiseConv(h.shape[-1], use_bias=self.use_bias, dtype=dtype, name="skip")(shallow)
        zeros = nn.initializers.zeros
        ending = Conv(self.out_channels, (3, 3), use_bias=self.use_bias, kernel_init=zeros, dtype=dtype, name="ending")
        out = ending(h)[:, :height, :width].astype(x.dtype)
        return out if self.dual_pixel or x.shape[-1] != self.out_channels else x + out


def _expansion(widths: list[int], hiddens: list[int]) -> float:
    """The shortest decimal that makes every level as wide as it is: `int(width expansion)`.

    Raises:
        Unfit: there is none, as the levels differ.
    """
    most = max(hidden / width for width, hidden in zip(widths, hiddens))
    for digits in range(7):
        expansion = math.ceil(most * 10**digits) / 10**digits
        if [int(width * expansion) for width in widths] == hiddens:
            return expansion
    raise Unfit("one expansion for all levels")


def _block(w: Weights, name: str, moved: bool) -> dict:
    """One block; in a `moved` one, what it reads from and adds to has its channels in another order here."""
    use_bias, centred = f"{name}.attn.qkv.bias" in w, f"{name}.norm1.body.bias" in w

    def reads(layer):
        return unshuffled(layer, 2) if moved else layer

    def writes(layer):
        return shuffled(layer, 2) if moved else layer

    def norm(n: int) -> dict:
        body = f"{name}.norm{n}.body"
        return writes(w.norm(body) if centred else {"scale": w.array(f"{body}.weight").reshape(-1)})

    def film(n: int) -> dict:
        w.shape(f"{name}.film{n}.bias")
        layer = w.dense(f"{name}.film{n}")
        halves = [writes({k: np.split(a, 2, -1)[half] for k, a in layer.items()}) for half in (0, 1)]
        return {"Dense_0": {k: np.concatenate([half[k] for half in halves], -1) for k in layer}}

    layers = {
        "attention": {
            "qkv": reads(w.dense(f"{name}.attn.qkv", use_bias)),
            "qkv_conv": w.conv(f"{name}.attn.qkv_dwconv", use_bias),
            "temperature": w.array(f"{name}.attn.temperature").reshape(-1),
            **writes(w.dense(f"{name}.attn.project_out", use_bias)),
        },
        "norm1": norm(1),
        "norm2": norm(2),
        "wide": reads(w.dense(f"{name}.ffn.project_in", use_bias)),
        "wide_conv": w.conv(f"{name}.ffn.dwconv", use_bias),
        "narrow": writes(w.dense(f"{name}.ffn.project_out", use_bias)),
    }
    return layers | ({f"norm{n}_film": film(n) for n in (1, 2)} if "noise.0.weight" in w else {})


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names (`patch_embed.proj`, `encoder_level1.N`, `down1_2.body.0`, `latent.N`, ..., `output`).

    A net that listens to a level adds `noise.0`, `noise.2` and, in each block, `film1` and `film2`. Below the finest
    level, what comes out of a pixel unshuffle has its channels in another order here, and all the level with it.
    """
    coarse = 0
    while f"encoder_level{coarse + 1}.0.attn.temperature" in w:
        coarse += 1
    names = [f"encoder_level{level + 1}" for level in range(coarse)] + ["latent"]
    blocks = tuple(w.count(f"{name}.{{}}.attn.temperature") for name in names)
    narrow = [w.shape(f"{name}.0.ffn.project_out.weight") for name in names]
    if not coarse:
        raise Unfit("encoder_level1.0.attn.temperature")
    refinement = w.count("refinement.{}.attn.temperature")
    use_bias, dual_pixel, listens = "output.bias" in w, "skip_conv.weight" in w, "noise.0.weight" in w
    spec = {
        "name": "nets.restormer.Restormer",
        "width": narrow[0][0],
        "blocks": blocks,
        "refinement": refinement,
        "heads": tuple(w.shape(f"{name}.0.attn.temperature")[0] for name in names),
        "expansion": _expansion([shape[0] for shape in narrow], [shape[1] for shape in narrow]),
        "use_bias": use_bias,
        "centred": f"{names[0]}.0.norm1.body.bias" in w,
        "dual_pixel": dual_pixel,
        "out_channels": w.shape("output.weight")[0],
        "embed": w.shape("noise.0.weight")[0] if listens else 0,
    }

    def through(theirs: str, ours: str, n: int, moved: bool = False) -> dict:
        return {f"{ours}_{i}": _block(w, f"{theirs}.{i}", moved) for i in range(n)}

    params = {"patch": w.conv("patch_embed.proj", False), "ending": w.conv("output", use_bias)}
    params |= {"skip": w.dense("skip_conv", use_bias)} if dual_pixel else {}
    params |= {"noise": {f"Dense_{n}": w.dense(f"noise.{2 * n}") for n in (0, 1)}} if listens else {}
    params |= through("latent", "latent", blocks[-1], True) | through("refinement", "refinement", refinement)
    for level in range(coarse):
        fine, here, below = f"encoder_level{level + 1}", level + 1, level + 2
        params |= through(fine, f"encoder{level}", blocks[level], level > 0)
        params |= through(f"decoder_level{here}", f"decoder{level}", blocks[level])
        down, up = w.conv(f"down{here}_{below}.body.0", False), w.conv(f"up{below}_{here}.body.0", False)
        params[f"down{level}"] = unshuffled(down, 2) if level else down
        params[f"up{level}"] = shuffled(unshuffled(up, 2) if below > coarse else up, 2)
        if level:  # of the decoder's channels and the encoder's, the latter are moved
            reduce = w.dense(f"reduce_chan_level{here}", use_bias)
            own, skip = np.array_split(reduce["kernel"], 2)
            skip = unshuffled({"kernel": skip}, 2)["kernel"]
            params[f"reduce{level}"] = reduce | {"kernel": np.concatenate([own, skip])}
    return spec, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = (
    {
        "name": "nets.restormer.Restormer",
        "width": 8,
        "blocks": (1, 1),
        "refinement": 0,
        "heads": (1, 2),
        "expansion": 2.0,
        "embed": 16,
    },
)
