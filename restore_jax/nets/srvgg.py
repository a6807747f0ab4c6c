"""SRVGGNetCompact: plain 3x3 convolutions with PReLU at the size of x, one pixel shuffle, x added.

    out = nearest(x) + pixel_shuffle(Conv3(act(Conv3( ... act(Conv3(x))))))

Reference: Wang et al. 2021, "Real-ESRGAN"; the net itself is of its software (realesr-general-x4v3: 32 inner
convolutions, realesr-animevideov3: 16), not of the paper.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import per_channel, pixel_shuffle
from restore_jax.nets.torch_weights import Weights, shuffled


class PReLU(nn.Module):
    """`max(x, 0) + slope min(x, 0)`, a learned `slope` a channel, 1/4 at first.

    Reference: He et al. 2015, "Delving deep into rectifiers", eq. 1.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The same size, the same channels."""
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, per_channel(slope, x).astype(x.dtype) * x)


class SRVGG(nn.Module):
    """`convs` inner convolutions between a first and a last; each but the last is followed by a PReLU.

    `x`, each pixel repeated, is added where it has `out_channels`.

    Raises:
        ValueError: `scale` is below 1.
    """

    width: int = 64
    convs: int = 32
    scale: int = 4
    out_channels: int = 3
    dtype: Any = None

    local = True

    @property
    def factor(self) -> int:
        """No downsampling: tiles start anywhere."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """`convs + 2` convolutions, all before the shuffle."""
        return self.scale * (self.convs + 2)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        if self.scale < 1:
            raise ValueError(f"SRVGG.scale must be 1 or more, got {self.scale}.")
        h = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        for i in range(self.convs + 1):
            h = PReLU(name=f"act{i}")(Conv(self.width, (3, 3), dtype=self.dtype, name=f"conv{i}")(h))
        last = Conv(self.out_channels * self.scale**2, (3, 3), dtype=self.dtype, name="last")(h).astype(x.dtype)
        if x.shape[-1] == self.out_channels:
            # Every pixel of a cell gets the same: added before the shuffle, the picture need not be enlarged.
            last = last + jnp.concatenate([x] * self.scale**2, axis=-1)
        return pixel_shuffle(last, self.scale)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    width, channels = w.shape("body.0.weight")[:2]
    n = w.count("body.{}.weight")  # a convolution and a PReLU by turns, and the last convolution
    scale = round((w.shape(f"body.{n - 1}.weight")[0] / channels) ** 0.5)
    params: dict[str, Any] = {"last": shuffled(w.conv(f"body.{n - 1}"), scale)}
    for i in range((n - 1) // 2):
        params[f"conv{i}"] = w.conv(f"body.{2 * i}")
        params[f"act{i}"] = {"slope": w.array(f"body.{2 * i + 1}.weight").reshape(-1)}
    convs = (n - 1) // 2 - 1
    return {
        "name": "nets.srvgg.SRVGG",
        "width": width,
        "convs": convs,
        "scale": scale,
        "out_channels": channels,
    }, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.srvgg.SRVGG", "width": 8, "convs": 2, "scale": 4},)
