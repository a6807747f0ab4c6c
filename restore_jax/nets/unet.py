"""A convolutional U-Net denoiser: noise level by FiLM, observation by concatenation, any size of picture.

The U of Ho et al. 2020 and Karras et al. 2022, made for restoration: every operation is local
(normalisation over channels, no attention), so that an output pixel depends on `receptive_px` around
it and tiles of a photograph join exactly; and `patch` folds pixels into channels at the stem, which
buys width at a fraction of the cost.

Reference: Ho et al. 2020, "Denoising diffusion probabilistic models", appendix B (the U and its blocks);
Shi et al. 2016, "Real-time single image and video super-resolution", section 3.2 (the folding).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.condition import Film, NoiseEmbedding
from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import LayerNorm, PointwiseConv, pad_to_multiple, pixel_shuffle, pixel_unshuffle
from restore_jax.nets.torch_weights import Weights, shuffled, unshuffled


class ResBlock(nn.Module):
    """`x + conv(silu(film(norm(conv(x)))))`; the last convolution starts at zero, so a fresh block is the identity."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None) -> Float[Array, "b h w c"]:
        """Same shape."""
        c = x.shape[-1]
        h = Conv(c, (3, 3), dtype=self.dtype, name="conv_in")(x)
        h = LayerNorm(dtype=self.dtype, name="norm")(h)
        if embedding is not None:
            h = Film(dtype=self.dtype, name="film")(h, embedding)
        h = Conv(c, (3, 3), kernel_init=nn.initializers.zeros, dtype=self.dtype, name="conv_out")(jax.nn.silu(h))
        return x + h


class UNet(nn.Module):
    """`width * multipliers[l]` channels at level l, `blocks` residual blocks on each side of a level.

    `patch` x `patch` pixels become one at the stem; `embed` > 0 makes the net listen to `c_noise`.
    `until` makes it a flow map's: it listens to a second number too, the level it is to jump to, which is the first
    where it is not told (the plain denoiser). That part starts at zero, so that a fresh flow map is the diffusion net
    with the same parameters otherwise; parameters without that part, a diffusion teacher's, serve the plain denoiser.
    `refine` > 0 adds to what comes out what three convolutions of that many channels make of it and of what came in,
    pixel by pixel of the picture: pixels that were unfolded are otherwise each a filter of its own, and what a rival
    asks for, texture, then shows their grid. That part starts at zero, as above.
    Cost a pixel: about `sum_l 18 blocks (2 - [l is last]) (width multipliers[l])^2 / (patch^2 4^l)` multiply-adds, and
    about `9 refine (refine + c + 2 out_channels)`.
    """

    width: int = 48
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 2
    patch: int = 2
    embed: int = 64
    out_channels: int = 3
    dtype: Any = None
    until: bool = False
    refine: int = 0

    scale = 1
    local = True

    @property
    def factor(self) -> int:
        """Sides are padded to a multiple of this inside, and tiles must start on one."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @property
    def receptive_px(self) -> int:
        """How far, at most, an input pixel can be from an output pixel that sees it."""
        levels = len(self.multipliers)
        cells = [self.patch * 2**level for level in range(levels)]
        convs = [4 * self.blocks if level < levels - 1 else 2 * self.blocks for level in range(levels)]
        ends = 2 * self.patch + 3 * bool(self.refine)  # the first and the last convolutions
        return ends + sum(n * cell for n, cell in zip(convs, cells)) + self.factor - 1

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b"] | Float[Array, "b 2"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """The raw output, `out_channels` a pixel; zero for a fresh net.

        Raises:
            ValueError: a net that is no flow map's is told two levels, or one that is has no embedding.
        """
        embedding = self._embedding(c_noise) if c_noise is not None else None
        if cond is not None:
            x = jnp.concatenate([x, cond.astype(x.dtype)], axis=-1)
        x, (height, width) = pad_to_multiple(x, self.factor)
        widths = [self.width * m for m in self.multipliers]
        h = Conv(widths[0], (3, 3), dtype=self.dtype, name="stem")(pixel_unshuffle(x, self.patch))

        skips = []
        for level in range(len(widths)):
            last = level == len(widths) - 1
            for k in range(self.blocks):
                h = ResBlock(self.dtype, name=f"down{level}_{k}")(h, embedding)
            if not last:
                skips.append(h)
                h = PointwiseConv(widths[level + 1], dtype=self.dtype, name=f"reduce{level}")(pixel_unshuffle(h, 2))
        for level in reversed(range(len(skips))):
            w = widths[level]
            h = pixel_shuffle(PointwiseConv(4 * w, dtype=self.dtype, name=f"expand{level}")(h), 2)
            h = PointwiseConv(w, dtype=self.dtype, name=f"join{level}")(jnp.concatenate([h, skips[level]], axis=-1))
            for k in range(self.blocks):
                h = ResBlock(self.dtype, name=f"up{level}_{k}")(h, embedding)

        out = self.out_channels * self.patch**2
        h = Conv(out, (3, 3), kernel_init=nn.initializers.zeros, dtype=self.dtype, name="head")(jax.nn.silu(h))
        h = pixel_shuffle(h, self.patch)
        if self.refine:
            h = h + self._refined(jnp.concatenate([x, h.astype(x.dtype)], axis=-1))
        return h[:, :height, :width].astype(x.dtype)

    def _refined(self, h: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """What is added at the size of the picture."""
        for k in range(2):
            h = jax.nn.silu(Conv(self.refine, (3, 3), dtype=self.dtype, name=f"refine{k}")(h))
        zeros = nn.initializers.zeros
        return Conv(self.out_channels, (3, 3), kernel_init=zeros, dtype=self.dtype, name="refine2")(h)

    def _embedding(self, c_noise: Float[Array, " b"] | Float[Array, "b 2"]) -> Float[Array, "b e"] | None:
        """What the blocks hear of one level, or of two."""
        told_two = c_noise.ndim == 2
        if told_two and not self.until:
            raise ValueError(
                'UNet.until must be True, not False, for a net that is told two levels: cond["until"] belongs to flow'
                " maps. Set until = True, or take the condition away."
            )
        if self.until and not self.embed:
            raise ValueError("UNet.embed must be above 0, not 0, where UNet.until is True: it is what hears the level.")
        if not self.embed:
            return None
        first, second = (c_noise[:, 0], c_noise[:, 1]) if told_two else (c_noise, c_noise)
        embedding = NoiseEmbedding(self.embed, dtype=self.dtype, name="noise")(first)
        # A diffusion teacher's parameters lack "until"; asked for two levels, they are an error.
        if self.until and (told_two or self.is_initializing() or self.has_variable("params", "until")):
            embedding += NoiseEmbedding(self.embed, dtype=self.dtype, quiet=True, name="until")(second)
        return embedding


EXAMPLES = (
    {"name": "nets.unet.UNet", "width": 8, "multipliers": (1, 2), "blocks": 1, "patch": 1, "embed": 8},
    {"name": "nets.unet.UNet", "width": 8, "multipliers": (1, 1, 2), "blocks": 1, "patch": 2, "embed": 0},
    {"name": "nets.unet.UNet", "width": 8, "multipliers": (1,), "blocks": 1, "patch": 1, "embed": 8, "until": True},
    {"name": "nets.unet.UNet", "width": 8, "multipliers": (1,), "blocks": 1, "patch": 4, "embed": 0, "refine": 8},
)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The names `stem`, `down.L.N`, `reduce.L`, `expand.L.0`, `join.L`, `up.L.N`, `head`, `refine.N`, by layer.

    The number `patch`, which no shape tells from a picture of more channels, is a tensor of its own.
    """
    for name in ("patch", "down.0.0.norm.weight"):  # of any other net, this is the end
        w.shape(name)
    patch = int(w.array("patch"))
    levels, blocks = w.count("down.{}.0.norm.weight"), w.count("down.0.{}.norm.weight")
    widths = [w.shape(f"down.{level}.0.norm.weight")[0] for level in range(levels)]
    embed = w.shape("noise.0.weight")[0] if "noise.0.weight" in w else 0
    spec = {
        "name": "nets.unet.UNet",
        "width": w.shape("stem.weight")[0],
        "multipliers": tuple(width // widths[0] for width in widths),
        "blocks": blocks,
        "patch": patch,
        "embed": embed,
        "out_channels": w.shape("head.weight")[0] // patch**2,
        "until": "until.0.weight" in w,
        "refine": w.shape("refine.0.weight")[0] if "refine.0.weight" in w else 0,
    }

    def block(name: str) -> dict:
        layers = {conv: w.conv(f"{name}.{conv}") for conv in ("conv_in", "conv_out")} | {"norm": w.norm(f"{name}.norm")}
        return layers | ({"film": {"Dense_0": w.dense(f"{name}.film")}} if embed else {})

    params: dict[str, Any] = {"stem": unshuffled(w.conv("stem"), patch), "head": shuffled(w.conv("head"), patch)}
    for listener in ("noise", "until"):
        if f"{listener}.0.weight" in w:
            params[listener] = {f"Dense_{n}": w.dense(f"{listener}.{2 * n}") for n in (0, 1)}
    if spec["refine"]:
        params |= {f"refine{k}": w.conv(f"refine.{2 * k}") for k in range(3)}
    for level in range(levels):
        params |= {f"down{level}_{i}": block(f"down.{level}.{i}") for i in range(blocks)}
    for level in range(levels - 1):
        reduce = w.conv(f"reduce.{level}")
        params[f"reduce{level}"] = reduce | {"kernel": reduce["kernel"].reshape(-1, reduce["kernel"].shape[-1])}
        params[f"expand{level}"] = shuffled(w.dense(f"expand.{level}.0"), 2)
        params[f"join{level}"] = w.dense(f"join.{level}")
        params |= {f"up{level}_{i}": block(f"up.{level}.{i}") for i in range(blocks)}
    return spec, params


TORCH = (_from_torch,)
