"""SwinIR: a restorer of shifted windows that look into themselves, with a convolution after each few of them.

    block   y = x + WindowAttention(norm(x));    z = y + Dense(gelu(Dense(norm(y))))         every other one shifted
    stage   x + Conv3(blocks(x))
    net     f = Conv3(x - mean);    upsample(f + Conv3(norm(stages(norm(f)))))

Reference: Liang et al. 2021, "SwinIR: Image Restoration Using Swin Transformer", figure 2.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.attention import WindowAttention, gelu
from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import LayerNorm, PointwiseConv, pad_to_multiple, pixel_shuffle
from restore_jax.nets.torch_weights import Unfit, Weights, rescaled, shuffled

EPSILON = 1e-5
MEAN = (0.4488, 0.4371, 0.4040)  # of the photographs of DIV2K
UPSAMPLERS = ("pixelshuffle", "pixelshuffledirect", "nearest+conv", "")
CONNECTIONS = ("1conv", "3conv")


class SwinBlock(nn.Module):
    """Attention inside windows, then a feed-forward of `mlp_ratio c` channels.

    Costs `(4 + 2 mlp_ratio) c^2 + 2 window^2 c` multiply-adds a pixel.

    Reference: Liang et al. 2021, figure 2 (STL), eqs. 5 and 6.
    """

    heads: int
    window: int = 8
    shift: int = 0
    mlp_ratio: float = 2.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Same shape; sides that `window` divides."""
        c, dtype = x.shape[-1], self.dtype
        y = LayerNorm(epsilon=EPSILON, dtype=dtype, name="norm1")(x)
        x = x + WindowAttention(self.heads, self.window, self.shift, dtype, name="attention")(y)
        y = LayerNorm(epsilon=EPSILON, dtype=dtype, name="norm2")(x)
        y = gelu(PointwiseConv(int(c * self.mlp_ratio), dtype=dtype, name="wide")(y))
        return x + PointwiseConv(c, dtype=dtype, name="narrow")(y)


class Connection(nn.Module):
    """What ends a stage: one 3x3, or a 3x3, a 1x1 and a 3x3 of a quarter of the channels.

    Reference: Liang et al. 2021, section 3.2 and the published code for large models.
    """

    kind: str = "1conv"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Same shape."""
        c = x.shape[-1]
        if self.kind == "1conv":
            return Conv(c, (3, 3), dtype=self.dtype, name="conv")(x)
        x = jax.nn.leaky_relu(Conv(c // 4, (3, 3), dtype=self.dtype, name="conv0")(x), 0.2)
        x = jax.nn.leaky_relu(PointwiseConv(c // 4, dtype=self.dtype, name="conv1")(x), 0.2)
        return Conv(c, (3, 3), dtype=self.dtype, name="conv2")(x)


class SwinIR(nn.Module):
    """`depths[i]` blocks in stage i, all of `width` channels and `heads` heads, in windows of `window` pixels.

    `upsampler` says how the answer is made `scale` times the size of x:

        "pixelshuffle"        through `features` channels, doubled as often as it takes, or tripled        (classical)
        "pixelshuffledirect"  at once                                                                      (lightweight)
        "nearest+conv"        pixels repeated and convolved, once or twice                                 (real world)
        ""                    not at all: scale 1, the answer is added to x                                (denoising)

    An answer depends on `receptive_px` around it and no further: tiles that start on multiples of `factor` join. Any
    height and width: the picture is mirrored up to a multiple of `window`, as the authors' test does, and cropped back.

    Raises:
        ValueError: an upsampler or a connection that is not known, or a scale that the upsampler cannot reach.

    Reference: Liang et al. 2021, "SwinIR", sections 3.1 and 4.1; the upsampler of real pictures: section 4.3.
    """

    width: int = 180
    depths: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
    heads: int = 6
    window: int = 8
    mlp_ratio: float = 2.0
    upsampler: str = "pixelshuffle"
    scale: int = 4
    features: int = 64
    connection: str = "1conv"
    out_channels: int = 3
    dtype: Any = None

    local = True

    @property
    def factor(self) -> int:
        """A window, in pixels of the answer."""
        return self.window * self.scale

    @property
    def steps(self) -> tuple[int, ...]:
        """By how much each layer of the upsampler enlarges, one after the other."""
        if self.upsampler == "":
            return ()
        if self.upsampler == "pixelshuffledirect" or self.scale == 3:
            return (self.scale,)
        return (2,) * round(math.log2(self.scale))

    @property
    def receptive_px(self) -> int:
        """How far from a pixel of the answer a pixel of x can be that it depends on, in pixels of the answer.

        The interval of rows that the worst placed row depends on is followed back: a 3x3 widens it by one, a window
        to whole windows, and before an enlargement it is that much smaller.
        """
        width = 1 if self.connection == "1conv" else 2
        reach = 0
        for row in range(self.factor):
            low = high = row
            if self.upsampler == "nearest+conv":
                low, high = low - 2, high + 2
            elif self.upsampler != "pixelshuffledirect":
                low, high = low - 1, high + 1
            for step in reversed(self.steps):
                if self.upsampler == "nearest+conv":
                    low, high = (low - 1) // step, (high + 1) // step
                else:
                    low, high = low // step - 1, high // step + 1
            if self.upsampler in ("pixelshuffle", "nearest+conv"):
                low, high = low - 1, high + 1
            low, high = low - width, high + width
            for depth in reversed(self.depths):
                low, high = low - width, high + width
                for i in reversed(range(depth)):
                    shift = self._shift(i)
                    low = (low - shift) // self.window * self.window + shift
                    high = (high - shift) // self.window * self.window + shift + self.window - 1
            low, high = low - 1, high + 1
            reach = max(reach, row - (low + 1) * self.scale + 1, high * self.scale - row)
        return reach

    def _shift(self, i: int) -> int:
        return self.window // 2 if i % 2 else 0

    def _check(self) -> None:
        if self.upsampler not in UPSAMPLERS:
            raise ValueError(f"SwinIR.upsampler is one of {UPSAMPLERS}, got {self.upsampler!r}.")
        if self.connection not in CONNECTIONS:
            raise ValueError(f"SwinIR.connection is one of {CONNECTIONS}, got {self.connection!r}.")
        if math.prod(self.steps) != self.scale or (self.upsampler == "nearest+conv" and self.scale not in (2, 4)):
            allowed = {"pixelshuffle": "3 or a power of 2", "nearest+conv": "2 or 4", "": "1"}.get(self.upsampler)
            raise ValueError(f"SwinIR.scale is {allowed} with upsampler={self.upsampler!r}, got {self.scale}.")

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """The restored `x`, `scale` times its size; `cond` is a further picture, given to the stem beside `x`."""
        self._check()
        dtype, (height, width) = self.dtype, x.shape[1:3]

        def conv(features, name, **fields):
            return Conv(features, (3, 3), dtype=dtype, name=name, **fields)

        def norm(h, name):
            return LayerNorm(epsilon=EPSILON, dtype=dtype, name=name)(h)

        mean = jnp.asarray(MEAN, x.dtype).reshape(1, 1, 1, 3)
        stem = x - mean if x.shape[-1] == 3 else x
        stem = stem if cond is None else jnp.concatenate([stem, cond.astype(x.dtype)], -1)
        shallow = conv(self.width, "first")(pad_to_multiple(stem, self.window)[0])
        h = norm(shallow, "norm_first")
        for n, depth in enumerate(self.depths):
            skip = h
            for i in range(depth):
                name = f"stage{n}_{i}"
                h = SwinBlock(self.heads, self.window, self._shift(i), self.mlp_ratio, dtype, name=name)(h)
            h = skip + Connection(self.connection, dtype, name=f"stage{n}")(h)
        h = shallow + Connection(self.connection, dtype, name="body")(norm(h, "norm_last"))
        out = self._upsampled(h, conv)[:, : height * self.scale, : width * self.scale].astype(x.dtype)
        if self.upsampler == "" and x.shape[-1] == self.out_channels:
            return x + out
        return out + mean if self.out_channels == 3 else out

    def _upsampled(self, h, conv):
        """The answer that features are, by `upsampler`."""
        if self.upsampler == "":
            return conv(self.out_channels, "last", kernel_init=nn.initializers.zeros)(h)
        if self.upsampler == "pixelshuffledirect":
            return pixel_shuffle(conv(self.out_channels * self.scale**2, "up0")(h), self.scale)
        h = jax.nn.leaky_relu(conv(self.features, "before")(h), 0.01)
        for i, step in enumerate(self.steps):
            if self.upsampler == "pixelshuffle":
                h = pixel_shuffle(conv(self.features * step**2, f"up{i}")(h), step)
            else:
                b, height, width, c = h.shape
                h = jnp.repeat(h.reshape(b * height, 1, width, c), step, 1).reshape(b, step * height, width, c)
                h = jax.nn.leaky_relu(conv(self.features, f"up{i}")(jnp.repeat(h, step, 2)), 0.2)
        if self.upsampler == "nearest+conv":
            h = jax.nn.leaky_relu(conv(self.features, "fine")(h), 0.2)
        return conv(self.out_channels, "last")(h)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names (`conv_first`, `patch_embed.norm`, `layers.N.residual_group.blocks.M`, `conv_after_body`).

    The nets for JPEG, known by their windows of 7 pixels, were trained on pictures in [0, 255]; ours take [0, 1].
    """
    block = "layers.{}.residual_group.blocks.{}"
    table, heads = w.shape(f"{block.format(0, 0)}.attn.relative_position_bias_table")
    hidden, width = w.shape(f"{block.format(0, 0)}.mlp.fc1.weight")
    depths = tuple(
        w.count(block.format(n, "{}") + ".norm1.weight")
        for n in range(w.count(block.format("{}", 0) + ".norm1.weight"))
    )
    out_channels, features, steps, upsampler, scale = w.shape("conv_first.weight")[1], 64, [], "", 1
    if "conv_before_upsample.0.weight" in w:
        features = w.shape("conv_before_upsample.0.weight")[0]
        out_channels = w.shape("conv_last.weight")[0]
        if "conv_up1.weight" in w:
            upsampler, steps = "nearest+conv", [f"conv_up{n}" for n in (1, 2) if f"conv_up{n}.weight" in w]
            scale = 2 ** len(steps)
        else:
            steps = [f"upsample.{2 * n}" for n in range(4) if f"upsample.{2 * n}.weight" in w]
            grows = [math.isqrt(w.shape(f"{name}.weight")[0] // features) for name in steps]
            upsampler, scale = "pixelshuffle", math.prod(grows)
    elif "upsample.0.weight" in w:
        upsampler, steps = "pixelshuffledirect", ["upsample.0"]
        scale = math.isqrt(w.shape("upsample.0.weight")[0] // out_channels)
        if out_channels * scale**2 != w.shape("upsample.0.weight")[0]:
            raise Unfit("upsample.0.weight")
    connection = "3conv" if "conv_after_body.0.weight" in w else "1conv"
    window = (math.isqrt(table) + 1) // 2
    white = 255.0 if upsampler == "" and window == 7 else 1.0
    spec = {
        "name": "nets.swinir.SwinIR",
        "width": width,
        "depths": depths,
        "heads": heads,
        "window": window,
        "mlp_ratio": hidden / width,
        "upsampler": upsampler,
        "scale": scale,
        "features": features,
        "connection": connection,
        "out_channels": out_channels,
    }

    def connected(name: str) -> dict:
        if connection == "1conv":
            return {"conv": w.conv(name)}
        return {"conv0": w.conv(f"{name}.0"), "conv1": w.dense(f"{name}.2"), "conv2": w.conv(f"{name}.4")}

    def transformer(name: str) -> dict:
        w.ignore(f"{name}.attn_mask", f"{name}.attn.relative_position_index")
        layers = {"wide": w.dense(f"{name}.mlp.fc1"), "narrow": w.dense(f"{name}.mlp.fc2")}
        layers |= {f"norm{n}": w.norm(f"{name}.norm{n}") for n in (1, 2)}
        own = {"qkv": w.dense(f"{name}.attn.qkv"), "out": w.dense(f"{name}.attn.proj")}
        return layers | {"attention": own | {"table": w.array(f"{name}.attn.relative_position_bias_table")}}

    params = {"first": rescaled(w.conv("conv_first"), inputs=white), "body": connected("conv_after_body")}
    params |= {"norm_first": w.norm("patch_embed.norm"), "norm_last": w.norm("norm")}
    for n, depth in enumerate(depths):
        params[f"stage{n}"] = connected(f"layers.{n}.conv")
        params |= {f"stage{n}_{i}": transformer(block.format(n, i)) for i in range(depth)}
    for i, name in enumerate(steps):
        layer = w.conv(name)
        step = scale if len(steps) == 1 else 2
        params[f"up{i}"] = layer if upsampler == "nearest+conv" else shuffled(layer, step)
    if upsampler in ("pixelshuffle", "nearest+conv"):
        params["before"] = w.conv("conv_before_upsample.0")
    if upsampler == "nearest+conv":
        params["fine"] = w.conv("conv_hr")
    if upsampler != "pixelshuffledirect":
        params["last"] = rescaled(w.conv("conv_last"), outputs=white)
    return spec, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = (
    {
        "name": "nets.swinir.SwinIR",
        "width": 8,
        "depths": (2,),
        "heads": 2,
        "window": 4,
        "upsampler": "pixelshuffledirect",
        "scale": 2,
    },
    {
        "name": "nets.swinir.SwinIR",
        "width": 8,
        "depths": (1, 1),
        "heads": 1,
        "window": 4,
        "upsampler": "",
        "scale": 1,
        "connection": "3conv",
    },
)
