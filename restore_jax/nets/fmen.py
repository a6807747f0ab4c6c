"""FMEN: pairs of plain 3x3 convolutions, each pair followed by a local gate, for super-resolution.

    pair    Conv3(Act(Conv3(x)))
    HFAB    x sigmoid(Conv3(Act(pairs(Act(Conv3(x))))))                 few channels inside
    net     h = HFAB(Conv3(stem)), then HFAB(pair(h)) a few times       stem = Conv3(x)
            PixelShuffle(Conv3(stem + Conv3(h)))

This is the form it is used in: the branches that its convolutions have in training are merged into one 3x3 each.

Reference: Du et al. 2022, "Fast and Memory-Efficient Network Towards Efficient Image Super-Resolution".
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.esa import check_at_least, upsampler_weights
from restore_jax.nets.layers import pixel_shuffle
from restore_jax.nets.torch_weights import Weights, rescaled

SLOPE = 0.1


class Pair(nn.Module):
    """Two 3x3 convolutions, an activation between them.

    Reference: Du et al. 2022, the ERB, merged.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The same size, the same channels."""
        x = nn.leaky_relu(Conv(x.shape[-1], (3, 3), dtype=self.dtype, name="conv0")(x), SLOPE)
        return Conv(x.shape[-1], (3, 3), dtype=self.dtype, name="conv1")(x)


class HighFrequencyAttention(nn.Module):
    """`x` times a gate for each number of it, from `pairs` pairs of `mid` channels.

    Reference: Du et al. 2022, the HFAB.
    """

    mid: int
    pairs: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The gated picture."""
        y = nn.leaky_relu(Conv(self.mid, (3, 3), dtype=self.dtype, name="squeeze")(x), SLOPE)
        for i in range(self.pairs):
            y = Pair(self.dtype, name=f"pair{i}")(y)
        y = Conv(x.shape[-1], (3, 3), dtype=self.dtype, name="excite")(nn.leaky_relu(y, SLOPE))
        return x * nn.sigmoid(y)


class FMEN(nn.Module):
    """The net: 341 k parameters. No pixel sees further than `receptive_px`.

    `mids` and `inner` are the channels and the pairs inside each attention; the first attention follows a single
    convolution, each further one a pair.

    Reference: Du et al. 2022, figure 2.

    Raises:
        ValueError: a field is below 1, or `mids` and `inner` are not of one length.
    """

    width: int = 50
    mids: tuple[int, ...] = (12, 16, 16, 16, 16)
    inner: tuple[int, ...] = (2, 1, 1, 1, 1)
    scale: int = 4
    dtype: Any = None

    local = True

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, width=1, scale=1)
        if not self.mids or min(self.mids) < 1:
            raise ValueError(f"FMEN.mids are one number or more, each 1 or more, got {self.mids}; give channels.")
        if len(self.inner) != len(self.mids) or min(self.inner) < 1:
            raise ValueError(
                f"FMEN.inner has a number for each of the {len(self.mids)} mids, each 1 or more, got {self.inner}; "
                "say how many pairs each attention has."
            )

    @property
    def factor(self) -> int:
        """The pixels of the answer for one of x."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """How far an output pixel sees: one pixel of x for each 3x3 convolution on the longest way."""
        attentions = sum(2 + 2 * pairs for pairs in self.inner)
        return (4 + attentions + 2 * (len(self.mids) - 1)) * self.scale

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
        h = Conv(self.width, (3, 3), dtype=dtype, name="warmup")(stem)
        for i, (mid, pairs) in enumerate(zip(self.mids, self.inner)):
            if i:
                h = Pair(dtype, name=f"pair{i}")(h)
            h = HighFrequencyAttention(mid, pairs, dtype, name=f"attention{i}")(h)
        h = stem + Conv(self.width, (3, 3), dtype=dtype, name="body")(h)
        out = Conv(c * self.scale**2, (3, 3), dtype=dtype, name="upsampler")(h)
        return pixel_shuffle(out, self.scale).astype(x.dtype)


def _pair(w: Weights, name: str) -> dict:
    return {f"conv{i}": w.conv(f"{name}.conv{i + 1}.rep_conv") for i in range(2)}


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The names of the challenge's repository, for the merged form; its pictures are in [0, 255]."""
    width, channels = w.shape("head.weight")[:2]
    scale, upsampler = upsampler_weights(w, "tail.0", channels)
    params: dict = {
        "stem": rescaled(w.conv("head"), inputs=255),
        "warmup": w.conv("warmup.0"),
        "body": w.conv("lr_conv"),
        "upsampler": rescaled(upsampler, outputs=255),
    }
    blocks = w.count("hfabs.{}.squeeze.weight")
    names = ["warmup.1", *(f"hfabs.{i}" for i in range(blocks))]
    mids = tuple(w.shape(f"{name}.squeeze.weight")[0] for name in names)
    inner = tuple(w.count(f"{name}.convs.{{}}.conv1.rep_conv.weight") for name in names)
    for i, name in enumerate(names):
        params[f"attention{i}"] = {
            "squeeze": w.conv(f"{name}.squeeze"),
            **{f"pair{j}": _pair(w, f"{name}.convs.{j}") for j in range(inner[i])},
            "excite": w.conv(f"{name}.excitate"),
        }
    for i in range(blocks):
        params[f"pair{i + 1}"] = _pair(w, f"basic_blocks.{i}")
    return {"name": "nets.fmen.FMEN", "width": width, "mids": mids, "inner": inner, "scale": scale}, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.fmen.FMEN", "width": 8, "mids": (4, 6), "inner": (1, 1)},)
