"""NAFNet: a U-shaped restorer without nonlinear activations.

    block   y = x + beta * Conv1(SCA(SimpleGate(Depthwise3(Conv1(LN(x))))))     beta, gamma: one a channel,
            z = y + gamma * Conv1(SimpleGate(Conv1(LN(y))))                     zero at first
    net     x + Conv3(decode(middle(encode(Conv3(x)))))

Reference: Chen et al. 2022, "Simple Baselines for Image Restoration", figure 3 (block) and section 4.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.attention import pooled
from restore_jax.nets.condition import Film, NoiseEmbedding
from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import (
    DepthwiseConv,
    LayerNorm,
    PointwiseConv,
    pad_to_multiple,
    per_channel,
    pixel_shuffle,
    pixel_unshuffle,
    simple_gate,
)
from restore_jax.nets.torch_weights import Weights, shuffled


class NafBlock(nn.Module):
    """One block; `c` channels in and out, `7 c^2 + 33 c` parameters (`c^2 + c` fewer without attention).

    With an embedding, both normalisations are followed by a Film.

    Reference: Chen et al. 2022, figure 3(c); simplified channel attention: eq. 6.
    """

    attention: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b h w c"]:
        """The block applied to `x`, told the noise level if there is an embedding."""
        c, dtype = x.shape[-1], self.dtype

        def norm(x, name):
            y = LayerNorm(dtype=dtype, name=name)(x)
            return y if embedding is None else Film(dtype=dtype, name=f"{name}_film")(y, embedding)

        beta = per_channel(self.param("beta", nn.initializers.zeros, (c,)), x).astype(x.dtype)
        gamma = per_channel(self.param("gamma", nn.initializers.zeros, (c,)), x).astype(x.dtype)

        y = PointwiseConv(2 * c, dtype=dtype, name="conv1")(norm(x, "norm1"))
        y = simple_gate(DepthwiseConv(dtype=dtype, name="conv2")(y))
        scale = None
        if self.attention:
            scale = PointwiseConv(c, dtype=dtype, name="attention")(pooled(y))
        x = x + beta * PointwiseConv(c, dtype=dtype, name="conv3")(y, scale)

        y = simple_gate(PointwiseConv(2 * c, dtype=dtype, name="conv4")(norm(x, "norm2")))
        return x + gamma * PointwiseConv(c, dtype=dtype, name="conv5")(y)


class NAFNet(nn.Module):
    """The U-Net of NAF blocks: level l works at 1 / 2^l of the size, with `width 2^l` channels.

    `enc_blocks` counts the blocks of each level from the finest to the coarsest, `dec_blocks` from
    the coarsest to the finest, as the paper lists them. The last convolution starts at zero, so a
    fresh net with a `residual` is the identity (the residual is added where `x` has `out_channels`).

    With `attention=False` an output pixel sees `receptive_px` pixels around it and no further, so
    an image may be cut into overlapping tiles without changing a number. With `embed > 0` the net
    is told `c_noise`; with `embed == 0` it ignores it, as in the paper. Any height and width: the
    image is padded to a multiple of `factor`, and cropped back.

    Reference: Chen et al. 2022, "Simple Baselines for Image Restoration".
    """

    width: int = 32
    enc_blocks: tuple[int, ...] = (1, 1, 1, 28)
    middle_blocks: int = 1
    dec_blocks: tuple[int, ...] = (1, 1, 1, 1)
    out_channels: int = 3
    attention: bool = True
    residual: bool = True
    embed: int = 0
    dtype: Any = None

    scale = 1

    @property
    def local(self) -> bool:
        """Whether no pixel sees further than `receptive_px`: channel attention sees everything."""
        return not self.attention

    @property
    def factor(self) -> int:
        """Sides are padded to a multiple of this; tiles that start at one compute the same numbers."""
        return 2 ** len(self.enc_blocks)

    @property
    def receptive_px(self) -> int:
        """How far from an output pixel an input pixel can be that it depends on, without attention.

        The interval of rows that the worst placed output row depends on is followed down the
        decoder and up the encoder; a 3x3 widens it by one at its level, and halving the resolution
        widens it to whole cells.
        """
        reach = 0
        for row in range(self.factor):
            low, high = row - 1, row + 1
            for blocks in reversed(self.dec_blocks):
                low, high = (low - blocks) // 2, (high + blocks) // 2
            low, high = low - self.middle_blocks, high + self.middle_blocks
            for blocks in reversed(self.enc_blocks):
                low, high = 2 * low - blocks, 2 * high + 1 + blocks
            reach = max(reach, row - (low - 1), high + 1 - row)
        return reach

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """The restored `x`, at its size; `cond` is a further image, given to the stem beside `x`."""
        if len(self.enc_blocks) != len(self.dec_blocks):
            raise ValueError(
                f"one count a level: enc_blocks {self.enc_blocks} and dec_blocks {self.dec_blocks} differ."
            )
        if self.embed and c_noise is None:
            raise ValueError(f"NAFNet has embed={self.embed} and must be told c_noise; embed=0 makes it ignore it.")
        dtype = self.dtype
        embedding = None
        if self.embed and c_noise is not None:
            embedding = NoiseEmbedding(self.embed, dtype=dtype, name="noise")(c_noise)

        def blocks(h, n, name):
            for i in range(n):
                h = NafBlock(self.attention, dtype, name=f"{name}_{i}")(h, embedding)
            return h

        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        h, (height, width) = pad_to_multiple(stem, self.factor)
        h = Conv(self.width, (3, 3), dtype=dtype, name="intro")(h)
        skips = []
        for level, n in enumerate(self.enc_blocks):
            h = blocks(h, n, f"enc{level}")
            skips.append(h)
            # A 2x2 convolution of stride 2 is a 1x1 of the 2x2 cells.
            h = PointwiseConv(2 * h.shape[-1], dtype=dtype, name=f"down{level}")(pixel_unshuffle(h, 2))
        h = blocks(h, self.middle_blocks, "middle")
        for level, n in zip(reversed(range(len(self.enc_blocks))), self.dec_blocks):
            up = PointwiseConv(2 * h.shape[-1], use_bias=False, dtype=dtype, name=f"up{level}")(h)
            h = blocks(pixel_shuffle(up, 2) + skips.pop(), n, f"dec{level}")
        ending = Conv(self.out_channels, (3, 3), kernel_init=nn.initializers.zeros, dtype=dtype, name="ending")
        out = ending(h)[:, :height, :width].astype(x.dtype)
        return x + out if self.residual and x.shape[-1] == self.out_channels else out


EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.nafnet.NAFNet", "width": 8, "enc_blocks": (1, 0), "dec_blocks": (1, 1)},
    {
        "name": "nets.nafnet.NAFNet",
        "width": 8,
        "enc_blocks": (1,),
        "middle_blocks": 0,
        "dec_blocks": (1,),
        "attention": False,
        "embed": 16,
    },
)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names (`intro`, `encoders.L.N`, `downs.L`, `middle_blks.N`, `ups.L.0`, `decoders.L.N`, `ending`).

    A net that listens to a level adds `noise.0`, `noise.2` and, in each block, `film1` and `film2`.
    """
    width, _, _, _ = w.shape("intro.weight")
    levels = w.count("downs.{}.weight")
    encoders, decoders = (
        [w.count(f"{side}.{n}.{{}}.beta") for n in range(levels)] for side in ("encoders", "decoders")
    )
    middle = w.count("middle_blks.{}.beta")
    listens = "noise.0.weight" in w
    spec = {
        "name": "nets.nafnet.NAFNet",
        "width": width,
        "enc_blocks": tuple(encoders),
        "middle_blocks": middle,
        "dec_blocks": tuple(decoders),
        "out_channels": w.shape("ending.weight")[0],
        "attention": any(f"{place}.sca.1.weight" in w for place in ("encoders.0.0", "middle_blks.0", "decoders.0.0")),
        "embed": w.shape("noise.0.weight")[0] if listens else 0,
    }

    def block(name: str) -> dict:
        layers = {layer: w.dense(f"{name}.{layer}", bias=True) for layer in ("conv1", "conv3", "conv4", "conv5")}
        layers |= {"conv2": w.conv(f"{name}.conv2", bias=True)}
        layers |= {scale: w.array(f"{name}.{scale}").reshape(-1) for scale in ("beta", "gamma")}
        layers |= {f"norm{n}": w.norm(f"{name}.norm{n}") for n in (1, 2)}
        layers |= {"attention": w.dense(f"{name}.sca.1", bias=True)} if spec["attention"] else {}
        return layers | (
            {f"norm{n}_film": {"Dense_0": w.dense(f"{name}.film{n}", bias=True)} for n in (1, 2)} if listens else {}
        )

    params: dict[str, Any] = {"intro": w.conv("intro", bias=True), "ending": w.conv("ending", bias=True)}
    params |= {"noise": {f"Dense_{n}": w.dense(f"noise.{2 * n}", bias=True) for n in (0, 1)}} if listens else {}
    params |= {f"middle_{i}": block(f"middle_blks.{i}") for i in range(middle)}
    for level in range(levels):
        up = levels - 1 - level  # decoders are counted from the coarsest
        down = w.conv(f"downs.{level}", bias=True)
        params[f"down{level}"] = down | {"kernel": down["kernel"].reshape(-1, down["kernel"].shape[-1])}
        params[f"up{level}"] = shuffled(w.dense(f"ups.{up}.0"), 2)
        params |= {f"enc{level}_{i}": block(f"encoders.{level}.{i}") for i in range(encoders[level])}
        params |= {f"dec{level}_{i}": block(f"decoders.{up}.{i}") for i in range(decoders[up])}
    return spec, params


TORCH = (_from_torch,)
