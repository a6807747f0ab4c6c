"""SAFMN and SAFMN++: features weighed by their own largest values at coarser scales.

    SAFMN    safm(x) = x * gelu(Conv1([Depthwise3(x_0), up(Depthwise3(pool_2(x_1))), up(Depthwise3(pool_4(x_2))), ...]))
             y = x + safm(LN(x)),  z = y + Conv1(gelu(Conv3(LN(y))))             a block, x_i: the channels' i-th part
             net = pixel_shuffle(Conv3(h + blocks(h))),  h = Conv3(x)
    SAFMN++  safm(x) = Conv1(gelu([b, a * gelu(up(Depthwise3(pool_8(a))))])),  a, b = split(Conv3(x))
             y = x + Conv1(gelu(Conv3(safm(x))))                                  a block; no biases, no normalisation
             net = bilinear(x) + pixel_shuffle(Conv3(blocks(Conv3(x))))

`pool_k` is the largest of the pixels of each cell; cells of k x k where k divides the sides, and else as many cells,
which may overlap by a pixel. `up` repeats the nearest (SAFMN) or reads between (SAFMN++).

Reference: Sun et al. 2023, "Spatially-adaptive feature modulation for efficient image super-resolution", figure 3 and
section 3; SAFMN++: Ren et al. 2024, "The ninth NTIRE 2024 efficient super-resolution challenge report", whose text
leaves parts of the net open: they are those with which the published weights give their measured figure.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from restore_jax.nets.attention import gelu
from restore_jax.nets.conv import Conv
from restore_jax.nets.edsr import bilinear
from restore_jax.nets.layers import DepthwiseConv, LayerNorm, PointwiseConv, pixel_shuffle
from restore_jax.nets.torch_weights import Unfit, Weights, shuffled

POOL = 8  # of SAFMN++


def adaptive_max(x: Float[Array, "b h w c"], rows: int, columns: int) -> Float[Array, "b p q c"]:
    """The largest of each of `rows` x `columns` cells; cell i: rows `floor(i h / rows)` to `ceil((i + 1) h / rows)`.

    Pixel by pixel of a cell, each axis for itself: the derivative of `maximum` compares what it has compared, where
    that of a reduction compares again what the compiler may have rounded anew, finds nothing and divides by zero.
    """
    for axis, n in ((1, rows), (2, columns)):
        size = x.shape[axis]
        if size % n == 0:
            cells = x.reshape(*x.shape[:axis], n, size // n, *x.shape[axis + 1 :])
        else:
            start, end = np.arange(n) * size // n, -(-(np.arange(n) + 1) * size // n)
            places = start[:, None] + np.arange((end - start).max())[None]
            cells = jnp.take(x, np.minimum(places, end[:, None] - 1), axis=axis)
        pixels = [lax.index_in_dim(cells, k, axis + 1, keepdims=False) for k in range(cells.shape[axis + 1])]
        x = functools.reduce(jnp.maximum, pixels)
    return x


def repeated(x: Float[Array, "b p q c"], height: int, width: int) -> Float[Array, "b h w c"]:
    """Pixel `floor(i p / height)` of `x` for row i, and so for columns: PyTorch's `nearest`, its float32 included."""
    for axis, size in ((1, height), (2, width)):
        n = x.shape[axis]
        ratio = np.float32(n) / np.float32(size)
        places = np.minimum((np.arange(size, dtype=np.float32) * ratio).astype(np.int32), n - 1)
        x = jnp.take(x, places, axis=axis)
    return x


def at_least(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b H W c"]:
    """`x`, continued by its mirror image below and to the right as far as it is smaller than `side`."""
    h, w = x.shape[1:3]
    return jnp.pad(x, ((0, 0), (0, max(side - h, 0)), (0, max(side - w, 0)), (0, 0)), mode="symmetric")


class Modulation(nn.Module):
    """SAFM: the first of `levels` parts of the channels at the size of x, part i pooled by 2^i.

    Reference: Sun et al. 2023, eqs. 1 to 4.
    """

    levels: int = 4
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """`x` weighed."""
        _, h, w, c = x.shape
        found = []
        for i, part in enumerate(jnp.split(x, self.levels, -1)):
            pooled = adaptive_max(part, h >> i, w >> i) if i else part
            part = DepthwiseConv(dtype=self.dtype, name=f"level{i}")(pooled)
            found.append(repeated(part, h, w) if i else part)
        return x * gelu(PointwiseConv(c, dtype=self.dtype, name="join")(jnp.concatenate(found, -1)))


class SAFMN(nn.Module):
    """`blocks` blocks of `width` channels in `levels` parts; `hidden` channels inside the mixer of channels.

    A picture of less than `2^(levels - 1)` pixels a side is continued to that, and the answer cropped. Cells depend on
    the sides of the picture where these are no multiple of `2^(levels - 1)`: it is `local` in multiples only.

    Raises:
        ValueError: `scale` is below 1, or `levels` does not divide `width`.

    Reference: Sun et al. 2023, section 4.1: width 36, 8 blocks, 4 levels, hidden twice the width.
    """

    width: int = 36
    blocks: int = 8
    levels: int = 4
    hidden: int = 72
    scale: int = 4
    out_channels: int = 3
    dtype: Any = None

    local = False

    @property
    def factor(self) -> int:
        """Tiles that start on multiples have their cells where the picture has them."""
        return self.scale * 2 ** (self.levels - 1)

    @property
    def receptive_px(self) -> int:
        """A cell and its neighbour, and one pixel more, a block; where cells are all of one size."""
        return self.scale * (self.blocks * 2**self.levels + 2)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        if self.scale < 1:
            raise ValueError(f"SAFMN.scale must be 1 or more, got {self.scale}.")
        if self.width % self.levels:
            raise ValueError(f"SAFMN.levels must divide width {self.width}, got {self.levels}.")
        dtype, (height, width) = self.dtype, x.shape[1:3]
        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        first = h = Conv(self.width, (3, 3), dtype=dtype, name="first")(at_least(stem, 2 ** (self.levels - 1)))
        for i in range(self.blocks):
            h = h + Modulation(self.levels, dtype, name=f"safm{i}")(LayerNorm(dtype=dtype, name=f"norm{i}_1")(h))
            y = LayerNorm(dtype=dtype, name=f"norm{i}_2")(h)
            y = gelu(Conv(self.hidden, (3, 3), dtype=dtype, name=f"mix{i}_1")(y))
            h = h + PointwiseConv(self.width, dtype=dtype, name=f"mix{i}_2")(y)
        out = Conv(self.out_channels * self.scale**2, (3, 3), dtype=dtype, name="last")(h + first)
        return pixel_shuffle(out[:, :height, :width].astype(x.dtype), self.scale)


class SAFMNPlus(nn.Module):
    """`blocks` blocks of `width` channels, of which `pooled` are weighed at an eighth of the size; no biases.

    A picture of less than 8 pixels a side is continued to that, and the answer cropped. `x`, enlarged bilinearly, is
    added where it has `out_channels`.

    Raises:
        ValueError: `scale` is below 1, or `pooled` is not between 0 and `width`.

    Reference: Ren et al. 2024: width 36, 6 blocks, a third pooled, hidden 1.5 times the width.
    """

    width: int = 36
    blocks: int = 6
    pooled: int = 12
    hidden: int = 54
    scale: int = 4
    out_channels: int = 3
    dtype: Any = None

    local = False

    @property
    def factor(self) -> int:
        """Tiles that start on multiples have their cells where the picture has them."""
        return self.scale * POOL

    @property
    def receptive_px(self) -> int:
        """Two cells and their neighbour, between which is read, and two pixels more, a block."""
        return self.scale * (self.blocks * (3 * POOL + 2) + 2)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        if self.scale < 1:
            raise ValueError(f"SAFMNPlus.scale must be 1 or more, got {self.scale}.")
        if not 0 < self.pooled < self.width:
            raise ValueError(f"SAFMNPlus.pooled must be between 0 and width {self.width}, got {self.pooled}.")
        dtype, (height, width) = self.dtype, x.shape[1:3]

        def conv3(features, name):
            return Conv(features, (3, 3), use_bias=False, dtype=dtype, name=name)

        def conv1(features, name):
            return PointwiseConv(features, use_bias=False, dtype=dtype, name=name)

        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        h = conv3(self.width, "first")(at_least(stem, POOL))
        rows, columns = h.shape[1:3]
        for i in range(self.blocks):
            y = conv3(self.width, f"proj{i}")(h)
            a, b = y[..., : self.pooled], y[..., self.pooled :]
            cells = adaptive_max(a, rows // POOL, columns // POOL)
            cells = DepthwiseConv(use_bias=False, dtype=dtype, name=f"cells{i}")(cells)
            y = jnp.concatenate([b, a * gelu(bilinear(cells, rows, columns))], -1)
            y = conv1(self.width, f"join{i}")(gelu(y))
            h = h + conv1(self.width, f"mix{i}_2")(gelu(conv3(self.hidden, f"mix{i}_1")(y)))
        out = conv3(self.out_channels * self.scale**2, "last")(h)
        out = pixel_shuffle(out[:, :height, :width].astype(x.dtype), self.scale)
        if x.shape[-1] != self.out_channels:
            return out
        return out + bilinear(x, self.scale * height, self.scale * width)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names; the net gives as many channels as it takes."""
    width, channels = w.shape("to_feat.weight")[:2]
    blocks, levels = w.count("feats.{}.norm1.weight"), w.count("feats.0.safm.mfr.{}.weight")
    hidden = w.shape("feats.0.ccm.ccm.0.weight")[0]
    scale = round((w.shape("to_img.0.weight")[0] / channels) ** 0.5)
    params: dict[str, Any] = {"first": w.conv("to_feat"), "last": shuffled(w.conv("to_img.0"), scale)}
    for i in range(blocks):
        name = f"feats.{i}"
        params[f"norm{i}_1"], params[f"norm{i}_2"] = w.norm(f"{name}.norm1"), w.norm(f"{name}.norm2")
        parts = {f"level{k}": w.conv(f"{name}.safm.mfr.{k}") for k in range(levels)}
        params[f"safm{i}"] = parts | {"join": w.dense(f"{name}.safm.aggr")}
        params[f"mix{i}_1"], params[f"mix{i}_2"] = w.conv(f"{name}.ccm.ccm.0"), w.dense(f"{name}.ccm.ccm.2")
    spec = {"name": "nets.safmn.SAFMN", "width": width, "blocks": blocks, "levels": levels, "hidden": hidden}
    return spec | {"scale": scale, "out_channels": channels}, params


def _plus(w: Weights) -> tuple[dict, dict]:
    """The names of the challenge's entry."""
    width, channels = w.shape("to_feat.weight")[:2]
    if "to_feat.bias" in w:
        raise Unfit("to_feat without a bias")
    blocks, pooled = w.count("feats.{}.conv1.proj.weight"), w.shape("feats.0.conv1.dwconv.weight")[0]
    hidden = w.shape("feats.0.conv2.conv1.weight")[0]
    scale = round((w.shape("to_img.0.weight")[0] / channels) ** 0.5)
    params: dict[str, Any] = {"first": w.conv("to_feat"), "last": shuffled(w.conv("to_img.0"), scale)}
    for i in range(blocks):
        name = f"feats.{i}"
        params[f"proj{i}"], params[f"cells{i}"] = w.conv(f"{name}.conv1.proj"), w.conv(f"{name}.conv1.dwconv")
        params[f"join{i}"] = w.dense(f"{name}.conv1.out")
        params[f"mix{i}_1"], params[f"mix{i}_2"] = w.conv(f"{name}.conv2.conv1"), w.dense(f"{name}.conv2.conv2")
    spec = {"name": "nets.safmn.SAFMNPlus", "width": width, "blocks": blocks, "pooled": pooled, "hidden": hidden}
    return spec | {"scale": scale, "out_channels": channels}, params


TORCH = (_from_torch, _plus)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.safmn.SAFMN", "width": 8, "blocks": 1, "levels": 4, "hidden": 12, "scale": 2},
    {"name": "nets.safmn.SAFMNPlus", "width": 9, "blocks": 1, "pooled": 3, "hidden": 12, "scale": 2},
)
