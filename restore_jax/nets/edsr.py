"""EDSR and MSRResNet: residual blocks without normalisation, enlarged by pixel shuffles.

    block       x + res_scale * Conv3(relu(Conv3(x)))
    EDSR        mean + Conv3(up(h + Conv3(blocks(h)))),              h = Conv3(x - mean)
    MSRResNet   bilinear(x) + Conv3(lrelu(Conv3(up(blocks(h))))),    h = lrelu(Conv3(x))

Reference: Lim et al. 2017, "Enhanced deep residual networks for single image super-resolution", section 3;
Wang et al. 2018, "ESRGAN", section 4.1 (the generator of the baseline).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import pixel_shuffle
from restore_jax.nets.torch_weights import Weights, rescaled, shuffled

DIV2K_MEAN = (0.4488, 0.4371, 0.404)
WIDE = 256  # EDSR of this width and more was published with res_scale 0.1
STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


def steps_of(scale: int, where: str) -> tuple[int, ...]:
    """The pixel shuffles that make up `scale`, first to last.

    Raises:
        ValueError: no such scale; it names `where`.
    """
    if scale not in STEPS:
        raise ValueError(f"{where} must be one of {', '.join(map(str, STEPS))}; got {scale}.")
    return STEPS[scale]


def steps_reach(scale: int, where: str) -> int:
    """How many pixels of the answer the 3x3 convolutions before each shuffle reach."""
    reach, left = 0, scale
    for step in steps_of(scale, where):
        reach, left = reach + left, left // step
    return reach


def bilinear(x: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b H W c"]:
    """`x` read between its pixel centres, edges repeated: PyTorch's `bilinear` with `align_corners=False`.

        out[i] = (1 - t) x[floor(s)] + t x[floor(s) + 1],   s = max((i + 1/2) h / height - 1/2, 0)

    Without antialiasing: for enlarging.
    """
    for axis, size in ((1, height), (2, width)):
        n = x.shape[axis]
        source = np.maximum((np.arange(size) + 0.5) * (n / size) - 0.5, 0.0)
        low = np.minimum(np.floor(source).astype(np.int32), n - 1)
        t = jnp.asarray((source - low).reshape([-1 if a == axis else 1 for a in range(4)]), x.dtype)
        near, far = jnp.take(x, low, axis=axis), jnp.take(x, np.minimum(low + 1, n - 1), axis=axis)
        x = near + t * (far - near)
    return x


class ResBlock(nn.Module):
    """`x + res_scale * Conv3(relu(Conv3(x)))`: `18 c^2 + 2 c` parameters.

    Reference: Lim et al. 2017, figure 2(c).
    """

    res_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        h = jax.nn.relu(Conv(x.shape[-1], (3, 3), dtype=self.dtype, name="conv1")(x))
        h = Conv(x.shape[-1], (3, 3), dtype=self.dtype, name="conv2")(h)
        return x + (h if self.res_scale == 1.0 else self.res_scale * h)


class EDSR(nn.Module):
    """The residual net of `blocks` blocks at the size of `x`; `mean`, one number a colour, is taken off and put back.

    `mean` is left alone where `x` has another number of channels than it.

    Raises:
        ValueError: `scale` is not 1, 2, 3, 4 or 8.

    Reference: Lim et al. 2017, figure 3; baseline: width 64, 16 blocks, res_scale 1; large: 256, 32, 0.1.
    """

    width: int = 64
    blocks: int = 16
    scale: int = 4
    out_channels: int = 3
    res_scale: float = 1.0
    mean: tuple[float, ...] = DIV2K_MEAN
    dtype: Any = None

    local = True

    @property
    def factor(self) -> int:
        """No downsampling: tiles start anywhere."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """2 blocks + 2 convolutions at the size of x, one before each shuffle, and one after the last."""
        return self.scale * (2 * self.blocks + 2) + steps_reach(self.scale, "EDSR.scale") + 1

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        dtype, steps = self.dtype, steps_of(self.scale, "EDSR.scale")
        mean = np.asarray(self.mean, np.float32).reshape(1, 1, 1, -1)

        def known(channels):
            return jnp.asarray(mean if channels == len(self.mean) else np.zeros_like(mean[..., :1]), x.dtype)

        stem = x - known(x.shape[-1])
        stem = stem if cond is None else jnp.concatenate([stem, cond.astype(x.dtype)], -1)
        first = h = Conv(self.width, (3, 3), dtype=dtype, name="head")(stem)
        for i in range(self.blocks):
            h = ResBlock(self.res_scale, dtype, name=f"block{i}")(h)
        h = first + Conv(self.width, (3, 3), dtype=dtype, name="body")(h)
        for i, r in enumerate(steps):
            h = pixel_shuffle(Conv(self.width * r * r, (3, 3), dtype=dtype, name=f"up{i}")(h), r)
        out = Conv(self.out_channels, (3, 3), dtype=dtype, name="tail")(h).astype(x.dtype)
        return out + known(self.out_channels)


class MSRResNet(nn.Module):
    """The residual net of `blocks` blocks whose answer is added to `x` enlarged bilinearly (where channels agree).

    Raises:
        ValueError: `scale` is not 1, 2, 3, 4 or 8.

    Reference: Wang et al. 2018, "ESRGAN", section 4.1, as SRResNet without batch normalisation.
    """

    width: int = 64
    blocks: int = 16
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
        """2 blocks + 1 convolutions at the size of x, one before each shuffle, and two after the last."""
        return self.scale * (2 * self.blocks + 1) + steps_reach(self.scale, "MSRResNet.scale") + 2

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        dtype, steps = self.dtype, steps_of(self.scale, "MSRResNet.scale")
        h = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        h = jax.nn.leaky_relu(Conv(self.width, (3, 3), dtype=dtype, name="conv_first")(h), 0.1)
        for i in range(self.blocks):
            h = ResBlock(dtype=dtype, name=f"block{i}")(h)
        for i, r in enumerate(steps):
            h = Conv(self.width * r * r, (3, 3), dtype=dtype, name=f"upconv{i}")(h)
            h = jax.nn.leaky_relu(pixel_shuffle(h, r), 0.1)
        h = jax.nn.leaky_relu(Conv(self.width, (3, 3), dtype=dtype, name="conv_hr")(h), 0.1)
        out = Conv(self.out_channels, (3, 3), dtype=dtype, name="conv_last")(h).astype(x.dtype)
        if x.shape[-1] != self.out_channels:
            return out
        return out + bilinear(x, self.scale * x.shape[1], self.scale * x.shape[2])


def _enlarging(w: Weights, names: list[str], width: int) -> tuple[int, dict[str, Any]]:
    """The scale and the layers of the convolutions before each shuffle, named `up0`, `up1`, ..."""
    scale, layers = 1, {}
    for i, name in enumerate(names):
        r = round((w.shape(f"{name}.weight")[0] / width) ** 0.5)
        scale, layers[f"up{i}"] = scale * r, shuffled(w.conv(name), r)
    return scale, layers


def _official(w: Weights) -> tuple[dict, dict]:
    """The authors' names; the mean tells pictures in [0, 255] from those in [0, 1], the width tells `res_scale`."""
    width, channels = w.shape("head.0.weight")[:2]
    blocks = w.count("body.{}.body.0.weight")
    names = [f"tail.0.{i}" for i in (0, 2, 4) if f"tail.0.{i}.weight" in w]
    scale, ups = _enlarging(w, names, width)
    mean = -w.array("sub_mean.bias").reshape(-1)
    w.ignore("sub_mean.weight", "add_mean.weight", "add_mean.bias")
    span = 255.0 if np.abs(mean).max() > 1.0 else 1.0
    params: dict[str, Any] = {
        "head": rescaled({"kernel": w.array("head.0.weight").transpose(2, 3, 1, 0)}, inputs=span)
        | {"bias": w.array("head.0.bias")},
        "body": w.conv(f"body.{blocks}"),
        "tail": rescaled(w.conv("tail.1"), outputs=span),
    }
    for i in range(blocks):
        params[f"block{i}"] = {f"conv{k + 1}": w.conv(f"body.{i}.body.{2 * k}") for k in range(2)}
    spec = {
        "name": "nets.edsr.EDSR",
        "width": width,
        "blocks": blocks,
        "scale": scale,
        "out_channels": channels,
        "res_scale": 0.1 if width >= WIDE else 1.0,
        "mean": tuple(round(float(v) / span, 6) for v in mean),
    }
    return spec, params | ups


def _msrresnet(w: Weights) -> tuple[dict, dict]:
    width, channels = w.shape("conv_first.weight")[:2]
    blocks = w.count("body.{}.conv1.weight")
    names = [f"upconv{i}" for i in (1, 2, 3) if f"upconv{i}.weight" in w]
    scale, ups = _enlarging(w, names, width)
    params: dict[str, Any] = {name: w.conv(name) for name in ("conv_first", "conv_hr", "conv_last")}
    params |= {name.replace("up", "upconv"): layer for name, layer in ups.items()}
    for i in range(blocks):
        params[f"block{i}"] = {name: w.conv(f"body.{i}.{name}") for name in ("conv1", "conv2")}
    spec = {"name": "nets.edsr.MSRResNet", "width": width, "blocks": blocks, "scale": scale, "out_channels": channels}
    return spec, params


TORCH = (_official, _msrresnet)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.edsr.EDSR", "width": 8, "blocks": 1, "scale": 4},
    {"name": "nets.edsr.MSRResNet", "width": 8, "blocks": 1, "scale": 3},
)
