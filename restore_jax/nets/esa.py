"""Enhanced spatial attention, and the pieces that the light super-resolution nets with it share.

    reduced = Conv1(x)                                    a few channels
    coarse  = Convs3(MaxPool7, stride 3(Conv3, stride 2(reduced)))     one sixth of the size: a wide view, for little
    out     = x sigmoid(Conv1(resize(coarse) + Conv1(reduced)))

What a pixel's gate depends on hangs on where it lies in the grid of the pool and on the height and width (the resize
is by n / (n // 6 or so)), so a net with this attention is not local.

Reference: Liu et al. 2020, "Residual Feature Aggregation Network for Image Super-Resolution" (the ESA block).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import DepthwiseConv, PointwiseConv, depthwise_form
from restore_jax.nets.torch_weights import Unfit, Weights, shuffled

LEAST = 15  # the least side that leaves the pool one pixel: (15 - 3) / 2 + 1 = 7


def bilinear_matrix(n: int, size: int) -> np.ndarray:
    """`(size, n)`: the samples of a line through n numbers, at the middles of `size` equal parts of it.

        out[i] = (1 - t) x[j] + t x[j + 1]      j + t = max((i + 0.5) n / size - 0.5, 0),  x[n] = x[n - 1]

    PyTorch's interpolate(mode="bilinear", align_corners=False), without antialiasing.
    """
    at = np.maximum((np.arange(size) + 0.5) * n / size - 0.5, 0)
    low = np.minimum(np.floor(at).astype(int), n - 1)
    high, t = np.minimum(low + 1, n - 1), at - low
    matrix = np.zeros((size, n))
    np.add.at(matrix, (np.arange(size), low), 1 - t)
    np.add.at(matrix, (np.arange(size), high), t)
    return matrix


def resize_bilinear(x: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b H W c"]:
    """`x` at another size, by `bilinear_matrix` along each axis: two dots, the second a large one.

    Costs `H W c (h + w h / H)` multiply-adds: less than a convolution for the enlargements by 6 that it is here for.
    """
    rows, columns = (jnp.asarray(bilinear_matrix(*n), x.dtype) for n in zip(x.shape[1:3], (height, width)))
    x = jnp.einsum("Ww,bhwc->bhWc", columns, x)
    return jnp.einsum("Hh,bhWc->bHWc", rows, x)


def max_pool(x: Float[Array, "b h w c"], side: int, stride: int) -> Float[Array, "b H W c"]:
    """The largest of each `side` x `side` window, `stride` apart, windows inside the picture only.

    On a CPU along one axis and then the other, by strided slices: a tenth of the time of `lax.reduce_window`.
    """
    if depthwise_form(x) == "conv":
        return nn.max_pool(x, (side, side), (stride, stride), "VALID")
    for axis in (1, 2):
        last = (x.shape[axis] - side) // stride * stride
        slices = [lax.slice_in_dim(x, i, i + last + 1, stride, axis) for i in range(side)]
        x = slices[0]
        for other in slices[1:]:
            x = jnp.maximum(x, other)
    return x


def dense_conv(
    features: int, strides: int = 1, padding: str = "SAME", dtype: Any = None, name: str | None = None
) -> nn.Module:
    """A plain 3x3 convolution."""
    return Conv(features, (3, 3), strides=strides, padding=padding, dtype=dtype, name=name)


class BlueprintConv(nn.Module):
    """A blueprint separable convolution: 1x1, then 3x3 depthwise: `c_in features + 10 features` parameters.

    Reference: Haase & Amthor 2020, "Rethinking Depthwise Separable Convolutions", section 3.2 (BSConv-U).
    """

    features: int
    strides: int = 1
    padding: str = "SAME"
    pointwise_bias: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W d"]:
        """`features` channels; with padding "VALID" two pixels less either way."""
        x = PointwiseConv(self.features, use_bias=self.pointwise_bias, dtype=self.dtype, name="pw")(x)
        x = DepthwiseConv(dtype=self.dtype, name="dw")(x)
        if self.padding == "VALID":
            x = x[:, 1:-1, 1:-1]
        return x[:, :: self.strides, :: self.strides]


class ESA(nn.Module):
    """`x` times a gate for each number of it; `features` channels inside, `depth` convolutions after the pool.

    `conv` makes those (`dense_conv`, `BlueprintConv`), `down` the one of stride 2; `activation` stands between them.
    A picture with a side below `LEAST` is continued by its mirror image to that for the gate.

    Reference: Liu et al. 2020, "Residual Feature Aggregation Network ..."; `depth` 1 is that of Kong et
    al. 2022, "Residual Local Feature Network for Efficient Super-Resolution".
    """

    features: int = 16
    depth: int = 3
    activation: Callable[[Array], Array] = nn.relu
    conv: Callable[..., nn.Module] = dense_conv
    down: Callable[..., nn.Module] = dense_conv
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The gated picture."""
        (h, w, c), f, dtype = x.shape[1:], self.features, self.dtype
        padded = x
        if min(h, w) < LEAST:
            padded = jnp.pad(x, [(0, 0), (0, max(LEAST - h, 0)), (0, max(LEAST - w, 0)), (0, 0)], mode="symmetric")
        reduced = PointwiseConv(f, dtype=dtype, name="reduce")(padded)
        coarse = self.down(f, strides=2, padding="VALID", dtype=dtype, name="down")(reduced)
        coarse = max_pool(coarse, 7, 3)
        for i in range(self.depth):
            coarse = self.conv(f, dtype=dtype, name=f"conv{i}")(self.activation(coarse) if i else coarse)
        coarse = resize_bilinear(coarse, *padded.shape[1:3])
        gate = PointwiseConv(c, dtype=dtype, name="expand")(
            coarse + PointwiseConv(f, dtype=dtype, name="skip")(reduced)
        )
        return x * nn.sigmoid(gate)[:, :h, :w]


def check_at_least(net: Any, **least: int) -> None:
    """A word for each field of a net that is below what it may be.

    Raises:
        ValueError: there is one.
    """
    for field, low in least.items():
        value = getattr(net, field)
        if value < low:
            raise ValueError(f"{type(net).__name__}.{field} is {low} or more, got {value}; raise it to {low} at least.")


def blueprint_weights(w: Weights, name: str) -> dict:
    """A `BlueprintConv` from a state dict where its parts are called pw and dw."""
    return {"pw": w.dense(f"{name}.pw"), "dw": w.conv(f"{name}.dw")}


def esa_weights(
    w: Weights,
    name: str,
    convs: tuple[str, ...] = ("conv_max", "conv3", "conv3_"),
    conv: Callable[[Weights, str], dict] = Weights.conv,
    down: Callable[[Weights, str], dict] = Weights.conv,
) -> dict:
    """An `ESA` from a state dict, under the names that all published ones have; `convs` those after the pool."""
    return {
        "reduce": w.dense(f"{name}.conv1"),
        "down": down(w, f"{name}.conv2"),
        **{f"conv{i}": conv(w, f"{name}.{conv_name}") for i, conv_name in enumerate(convs)},
        "skip": w.dense(f"{name}.conv_f"),
        "expand": w.dense(f"{name}.conv4"),
    }


def count_blocks(w: Weights, pattern: str) -> int:
    """How many of `pattern.format(1)`, `pattern.format(2)`, ... a state dict has.

    Raises:
        Unfit: none.
    """
    n = 0
    while pattern.format(n + 1) in w:
        n += 1
    if n == 0:
        w.shape(pattern.format(1))
    return n


def upsampler_weights(w: Weights, name: str, channels: int) -> tuple[int, dict]:
    """The scale of a net that ends in a 3x3 convolution and a pixel shuffle, and that convolution.

    Raises:
        Unfit: it has not `channels` times a square of output channels.
    """
    features = w.shape(f"{name}.weight")[0]
    scale = math.isqrt(features // channels)
    if channels * scale**2 != features:
        raise Unfit(f"{name}.weight")
    return scale, shuffled(w.conv(name), scale)
