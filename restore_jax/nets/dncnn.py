"""DnCNN: a stack of 3x3 convolutions that answers the noise.

    net     x - Conv3(ReLU(Conv3( ... ReLU(Conv3(x)))))

Reference: Zhang et al. 2017, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising", figure 1.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.torch_weights import Unfit, Weights


class DnCNN(nn.Module):
    """The net: `depth` convolutions, of `width` channels between them, without any other layer.

    The paper trains with batch normalisation after all but the first and the last; at inference each is part of the
    convolution before it, as it is here, and importing folds it. The last convolution starts at zero: a fresh net is
    the identity. Costs `9 (2 c + (depth - 2) width) width` multiply-adds a pixel of c channels.

    Raises:
        ValueError: `depth` below 2; x with other than `out_channels` channels.

    Reference: Zhang et al. 2017, "Beyond a Gaussian Denoiser", section III.
    """

    width: int = 64
    depth: int = 17
    out_channels: int = 3
    dtype: Any = None

    scale = 1
    factor = 1
    local = True

    @property
    def receptive_px(self) -> int:
        """One pixel a convolution."""
        return self.depth

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """`x` without its noise, whatever its level is; `cond` is given to the first convolution beside it."""
        del c_noise
        if self.depth < 2:
            raise ValueError(f"DnCNN.depth must be at least 2, a first and a last convolution; got {self.depth}.")
        if x.shape[-1] != self.out_channels:
            raise ValueError(
                f"DnCNN.out_channels={self.out_channels} is what x must have, as its noise is taken from it; got "
                f"{x.shape[-1]} channels."
            )
        init = nn.initializers.he_normal()
        h = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        for i in range(self.depth - 1):
            h = nn.relu(Conv(self.width, (3, 3), kernel_init=init, dtype=self.dtype, name=f"conv{i}")(h))
        zeros = nn.initializers.zeros
        noise = Conv(self.out_channels, (3, 3), kernel_init=zeros, dtype=self.dtype, name=f"conv{self.depth - 1}")(h)
        return x - noise.astype(x.dtype)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """Layers by their places in a Sequential: 0, 2, 4, ... where each convolution is followed by its ReLU, and 0, 2, 5,
    8, ... where batch normalisation stands between. Three codes publish such files: KAIR (`model.`, or without
    it), the authors' first one (`dncnn.`, a bias in the first convolution; both have epsilon 1e-4) and a widely
    used reimplementation (`dncnn.`, no bias anywhere, epsilon 1e-5)."""
    prefix = next((name for name in ("dncnn.", "model.") if f"{name}0.weight" in w), "")
    epsilon = 1e-4 if f"{prefix}0.bias" in w else 1e-5
    width, channels, *_ = w.shape(f"{prefix}0.weight")
    layers, place = [], 0
    while (name := f"{prefix}{place}") + ".weight" in w:
        if w.shape(f"{name}.weight")[2:] != (3, 3):
            raise Unfit(f"{name}.weight of 3x3")
        if f"{prefix}{place + 1}.running_var" in w:
            layers.append(w.normed_conv(name, f"{prefix}{place + 1}", epsilon))
            place += 3
        else:
            layers.append(w.conv(name))
            place += 2
    depth, answers = len(layers), layers[-1]["kernel"].shape[-1]
    if depth < 2 or answers != channels:
        raise Unfit(f"{prefix}{place}.weight: the last of {depth} layers answers {answers} channels, not {channels}")
    if depth == 7:  # IRCNN's published nets; read as this one they would run, and be wrong
        raise Unfit("an 8th layer: IRCNN has 7, of the same names and shapes, and they are dilated")
    for layer in layers:
        layer.setdefault("bias", np.zeros(layer["kernel"].shape[-1], np.float32))
    spec = {"name": "nets.dncnn.DnCNN", "width": width, "depth": depth, "out_channels": channels}
    return spec, {f"conv{i}": layer for i, layer in enumerate(layers)}


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.dncnn.DnCNN", "width": 8, "depth": 4},)
