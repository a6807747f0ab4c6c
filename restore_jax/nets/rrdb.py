"""RRDBNet, the generator of ESRGAN and Real-ESRGAN: residual blocks of densely joined convolutions.

    dense    x + 0.2 * Conv3([x, a1, a2, a3, a4]),  a_k = lrelu(Conv3([x, a1, ..., a_(k-1)]))
    block    x + 0.2 * dense(dense(dense(x)))
    net      Conv3(lrelu(Conv3(up(up(h + Conv3(blocks(h)))))),  h = Conv3(x),  up(h) = lrelu(Conv3(nearest2(h)))

The net itself enlarges by 4. For scales 2 and 1 the pixels of x are moved into channels first, 2x2 or 4x4 at a time.

Reference: Wang et al. 2018, "ESRGAN", figure 4; pixel unshuffle: Wang et al. 2021, "Real-ESRGAN", section 3.4.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import pad_to_multiple, pixel_unshuffle
from restore_jax.nets.torch_weights import Weights, unshuffled

DENSE = 3  # dense blocks a block
CONVS = 5  # convolutions a dense block
RESIDUAL = 0.2
SLOPE = 0.2


def nearest(x: Float[Array, "b h w c"], r: int) -> Float[Array, "b H W c"]:
    """Each pixel r times in each direction."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x.reshape(b, h, w, 1, c), (b, h, w, r, c)).reshape(b, h, 1, w * r, c)
    return jnp.broadcast_to(x, (b, h, r, w * r, c)).reshape(b, h * r, w * r, c)


class DenseBlock(nn.Module):
    """Five convolutions, each of `x` and all before it; `growth` channels each, the last as many as `x` has.

    Reference: Wang et al. 2018, figure 4.
    """

    growth: int = 32
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        h = x
        for k in range(1, CONVS):
            a = Conv(self.growth, (3, 3), dtype=self.dtype, name=f"conv{k}")(h)
            a = jax.nn.leaky_relu(a, SLOPE)
            h = jnp.concatenate([h.astype(a.dtype), a], -1)
        return x + RESIDUAL * Conv(x.shape[-1], (3, 3), dtype=self.dtype, name=f"conv{CONVS}")(h)


class RRDBNet(nn.Module):
    """`blocks` residual-in-residual dense blocks; ESRGAN and Real-ESRGAN x4plus have 64 channels and 23 blocks.

    Any height and width: with scale 2 or 1 the picture is padded to whole cells, and the answer cropped.

    Raises:
        ValueError: `scale` is not 1, 2 or 4.

    Reference: Wang et al. 2018, "ESRGAN", section 3.1.
    """

    width: int = 64
    blocks: int = 23
    growth: int = 32
    scale: int = 4
    out_channels: int = 3
    dtype: Any = None

    local = True
    factor = 4  # one pixel inside

    @property
    def receptive_px(self) -> int:
        """15 blocks + 2 convolutions inside, one at half of the answer's size, three at it; the way to a cell's end."""
        return 4 * (DENSE * CONVS * self.blocks + 2) + 2 + 3 + (4 - self.scale)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        if self.scale not in (1, 2, 4):
            raise ValueError(
                f"RRDBNet.scale must be 1, 2 or 4, got {self.scale}; enlarge or shrink the picture besides."
            )
        height, width = (self.scale * side for side in x.shape[1:3])
        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        cell = 4 // self.scale
        stem = pixel_unshuffle(pad_to_multiple(stem, cell)[0], cell)

        def conv(features, name):
            return Conv(features, (3, 3), dtype=self.dtype, name=name)

        first = h = conv(self.width, "conv_first")(stem)
        for i in range(self.blocks):
            block = h
            for k in range(DENSE):
                h = DenseBlock(self.growth, self.dtype, name=f"block{i}_{k}")(h)
            h = block + RESIDUAL * h
        h = first + conv(self.width, "conv_body")(h)
        for name in ("conv_up1", "conv_up2"):
            h = jax.nn.leaky_relu(conv(self.width, name)(nearest(h, 2)), SLOPE)
        h = jax.nn.leaky_relu(conv(self.width, "conv_hr")(h), SLOPE)
        return conv(self.out_channels, "conv_last")(h)[:, :height, :width].astype(x.dtype)


def _read(w: Weights, block: str, dense: str, conv: str, outer: dict[str, str]) -> tuple[dict, dict]:
    """By patterns of names: of a block by its number, of its dense blocks and their convolutions, and of the rest."""
    width, stem = w.shape(f"{outer['conv_first']}.weight")[:2]
    channels = w.shape(f"{outer['conv_last']}.weight")[0]
    name = block + dense.format(1) + conv
    blocks = w.count(name.replace("{k}", "1").replace("{i}", "{}") + ".weight")
    growth = w.shape(name.format(i=0, k=1) + ".weight")[0]
    cell = round((stem / channels) ** 0.5)
    if cell not in (1, 2, 4):
        w.missing.add(f"{outer['conv_first']}.weight of {channels}, {4 * channels} or {16 * channels} input channels")
        cell = 1
    params: dict[str, Any] = {ours: w.conv(theirs) for ours, theirs in outer.items()}
    params["conv_first"] = unshuffled(params["conv_first"], cell)
    for i in range(blocks):
        for d in range(DENSE):
            params[f"block{i}_{d}"] = {
                f"conv{k}": w.conv((block + dense.format(d + 1) + conv).format(i=i, k=k)) for k in range(1, CONVS + 1)
            }
    spec = {"name": "nets.rrdb.RRDBNet", "width": width, "blocks": blocks, "growth": growth, "scale": 4 // cell}
    return spec | {"out_channels": channels}, params


def _basicsr(w: Weights) -> tuple[dict, dict]:
    outer = ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
    return _read(w, "body.{i}.", "rdb{}.", "conv{k}", {name: name for name in outer})


def _esrgan(w: Weights) -> tuple[dict, dict]:
    names = ("conv_first", "trunk_conv", "upconv1", "upconv2", "HRconv", "conv_last")
    ours = ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
    return _read(w, "RRDB_trunk.{i}.", "RDB{}.", "conv{k}", dict(zip(ours, names)))


def _first_esrgan(w: Weights) -> tuple[dict, dict]:
    """The first release numbered its layers; "model." before them is taken off as any other wrapping."""
    blocks = w.count("1.sub.{}.RDB1.conv1.0.weight")
    names = ("0", f"1.sub.{blocks}", "3", "6", "8", "10")
    ours = ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
    return _read(w, "1.sub.{i}.", "RDB{}.", "conv{k}.0", dict(zip(ours, names)))


TORCH = (_basicsr, _esrgan, _first_esrgan)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.rrdb.RRDBNet", "width": 8, "blocks": 1, "growth": 4},
    {"name": "nets.rrdb.RRDBNet", "width": 8, "blocks": 1, "growth": 4, "scale": 2},
)
