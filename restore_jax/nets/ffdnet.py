"""FFDNet: a denoiser that is told the noise level, and works at half the size.

    net     shuffle(Conv3(ReLU(Conv3( ... ReLU(Conv3([unshuffle(x), sigma]))))))        shuffles by 2

Reference: Zhang et al. 2018, "FFDNet: Toward a Fast and Flexible Solution for CNN based Image Denoising", figure 1.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import pad_to_multiple, pixel_shuffle, pixel_unshuffle
from restore_jax.nets.torch_weights import Unfit, Weights, shuffled, unshuffled

CELL = 2


class FFDNet(nn.Module):
    """The net: `depth` convolutions of `width` channels on cells of 2x2 pixels, with a map of the noise level.

    It answers the picture, not the noise. `c_noise` is the standard deviation of the noise itself, in the units of x
    (as `diffusion.precondition.Plain` says it); the published weights know levels from 0 to 75/255. Odd sides are
    padded by their last row, and cropped back. Costs `9 (8 c + 1 + (depth - 2) width) width / 4` multiply-adds a pixel
    of c channels.

    Raises:
        ValueError: `c_noise` is missing; `depth` below 2.

    Reference: Zhang et al. 2018, "FFDNet", section III; colour: width 96, depth 12; grey: 64 and 15.
    """

    width: int = 96
    depth: int = 12
    out_channels: int = 3
    dtype: Any = None

    scale = 1
    factor = CELL
    local = True
    embed = 1  # it listens to c_noise, by one number

    @property
    def receptive_px(self) -> int:
        """One cell a convolution, from the far pixel of its own cell."""
        return CELL * self.depth + CELL - 1

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """`x` without noise of standard deviation `c_noise`; `cond` goes to the first convolution beside it."""
        if c_noise is None:
            raise ValueError(
                "FFDNet must be told c_noise: the standard deviation of the noise of each picture, in the units of x, "
                "such as 25 / 255."
            )
        if self.depth < 2:
            raise ValueError(f"FFDNet.depth must be at least 2, a first and a last convolution; got {self.depth}.")
        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        h, (height, width) = pad_to_multiple(stem, CELL)
        h = pixel_unshuffle(h, CELL)
        level = jnp.broadcast_to(c_noise.astype(x.dtype).reshape(-1, 1, 1, 1), (*h.shape[:3], 1))
        h = jnp.concatenate([h, level], -1)
        init = nn.initializers.he_normal()
        for i in range(self.depth - 1):
            h = nn.relu(Conv(self.width, (3, 3), kernel_init=init, dtype=self.dtype, name=f"conv{i}")(h))
        h = Conv(CELL**2 * self.out_channels, (3, 3), dtype=self.dtype, name=f"conv{self.depth - 1}")(h)
        return pixel_shuffle(h, CELL)[:, :height, :width].astype(x.dtype)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """KAIR's `model.0`, `model.2`, ...: a Sequential of convolutions, each but the last with its ReLU."""
    prefix = "model." if "model.0.weight" in w else ""
    depth = 0
    while f"{prefix}{2 * depth}.weight" in w:
        depth += 1
    width, inputs, *_ = w.shape(f"{prefix}0.weight")
    channels = (inputs - 1) // CELL**2
    outputs = w.shape(f"{prefix}{2 * (depth - 1)}.weight")[0]
    if depth < 2 or inputs != CELL**2 * channels + 1 or outputs != CELL**2 * channels:
        raise Unfit("0.weight of 4 c + 1 inputs, and a last one of 4 c outputs")
    layers = [w.conv(f"{prefix}{2 * i}", bias=True) for i in range(depth)]
    kernel = layers[0]["kernel"]
    cells = unshuffled({"kernel": kernel[:, :, :-1]}, CELL)["kernel"]
    layers[0]["kernel"] = np.concatenate([cells, kernel[:, :, -1:]], 2)
    layers[-1] = shuffled(layers[-1], CELL)
    spec = {"name": "nets.ffdnet.FFDNet", "width": width, "depth": depth, "out_channels": channels}
    return spec, {f"conv{i}": layer for i, layer in enumerate(layers)}


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.ffdnet.FFDNet", "width": 8, "depth": 3},)
