"""Networks that judge: patches, pixels, and patches of several sizes. A logit says how real what it sees looks.

All are called as `net(picture, cond)`, pictures of any size in [-1, 1], and answer logits `b H W 1`, or a tuple of
such maps. No picture knows its neighbours in the batch, as gradient penalties need.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.nets.conv import dense_conv
from restore_jax.nets.layers import LayerNorm, pad_to_multiple

SQUARINGS = 8
_TINY = 1e-12


def largest_singular(kernel: Float[Array, "k k c d"]) -> Float[Array, ""]:
    """The largest singular value of a kernel as the matrix `(k k c, d)`, by `2^SQUARINGS` rounds of power iteration.

        gram = W^T W,    v = gram^256 start,    u = W v,    sigma = u^T W v / |u| |v|

    from a fixed start, so that it is a pure function of the kernel. The power is taken by squaring the Gram matrix of
    the smaller side, eight products that a processor is good at. Never above the exact value; below it by the share
    `(sigma_2 / sigma_1)^1024` where the two largest stand apart, and by 1e-3 or so where they do not. u and v count
    as constants: its gradient `u v^T` is exact where they are, and a second derivative is that of a linear function.
    Cost: `k k c d e + 8 e^3` multiply-adds with `e = min(k k c, d)`; an eigenvalue solver takes 50 times as long at
    e = 128 on a CPU.

    Reference: Miyato et al. 2018, "Spectral normalization for generative adversarial networks", section 2.1, where one
    round a step goes on from the vectors of the step before.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    fixed = jax.lax.stop_gradient(matrix).astype(jnp.float32)
    wide = fixed.shape[0] < fixed.shape[1]
    tall = fixed.T if wide else fixed
    power = _product(tall.T, tall)
    for _ in range(SQUARINGS):
        power = power / jnp.maximum(jnp.trace(power), _TINY)  # the largest eigenvalue is then 1 / e at least
        power = _product(power, power)
    right = _unit(_product(power, jax.random.normal(jax.random.key(0), (tall.shape[1], 1))))
    left = _unit(_product(tall, right))
    u, v = (right, left) if wide else (left, right)
    return jnp.sum(u * matrix * v.T)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _unit(v: Array) -> Array:
    return v / jnp.maximum(jnp.linalg.norm(v), _TINY)


class PatchConv(nn.Module):
    """A convolution `size` x `size`; with `spectral`, its kernel divided by its largest singular value."""

    features: int
    stride: int
    spectral: bool = False
    dtype: Any = None
    size: int = 4
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W d"]:
        """`ceil(h / stride)` by `ceil(w / stride)` pixels of `features` channels."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        if self.spectral:
            kernel = kernel / jnp.maximum(largest_singular(kernel), _TINY)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = dense_conv(x, kernel, (self.stride, self.stride))
        return x if bias is None else x + bias.reshape(1, 1, 1, -1)


def seen(x: Float[Array, "b h w c"], cond: Float[Array, "b h w k"] | None) -> Float[Array, "b h w d"]:
    """The picture, beside its condition where there is one."""
    return x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], axis=-1)


class PatchDiscriminator(nn.Module):
    """`strides` convolutions of stride 2 and two of stride 1, 4x4 each; logits that see `receptive_px` squared.

    Channels double from `width` up to 8 times it. Normalisation is over the channels of a pixel, where the paper's is
    over the batch: what is said of a picture then does not depend on its neighbours, as the gradient penalty needs;
    the first and the last convolution have none. With `spectral` every kernel has spectral norm 1, and no other
    normalisation is used.

    Reference: Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", appendix 6.1.2.
    """

    width: int = 64
    strides: int = 3
    spectral: bool = False
    dtype: Any = None

    @property
    def receptive_px(self) -> int:
        """The side of the square that a logit sees: 70 for 3 strides."""
        side = 7  # two convolutions 4x4 of stride 1
        for _ in range(self.strides):
            side = 2 * side + 2
        return side

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], cond: Float[Array, "b h w k"] | None = None
    ) -> Float[Array, "b H W 1"]:
        """One logit for each `2^strides` pixels a side; pictures of any size, in [-1, 1]."""
        h = seen(x, cond)
        for k in range(self.strides + 1):
            channels = self.width * min(2**k, 8)
            stride = 2 if k < self.strides else 1
            h = PatchConv(channels, stride, self.spectral, self.dtype, name=f"conv{k}")(h)
            if k and not self.spectral:
                h = LayerNorm(dtype=self.dtype, name=f"norm{k}")(h)
            h = jax.nn.leaky_relu(h, 0.2)
        return PatchConv(1, 1, self.spectral, self.dtype, name="head")(h).astype(x.dtype)


def doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b H W c"]:
    """Twice the size by linear interpolation between the centres of pixels, the edge repeated.

    `out[2i] = x[i-1] / 4 + 3 x[i] / 4` and `out[2i+1] = 3 x[i] / 4 + x[i+1] / 4` along each axis.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        wide = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)], mode="edge")
        before, after = (jax.lax.slice_in_dim(wide, k, k + size, axis=axis) for k in (0, 2))
        pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


class UNetDiscriminator(nn.Module):
    """A logit for each pixel, from a U of `levels` halvings: it says where a picture is not real, not only whether.

        down   a 3x3, then `levels` 4x4 of stride 2, channels doubling from `width`
        up     `levels` times: twice the size, a 3x3, and the sum with what came down at that size
        head   three 3x3, the last of which answers

    The first and the last convolution are free; with `spectral` all between have spectral norm 1 and no bias, and
    nothing else normalises. Sides are continued by their mirror image to a multiple of `2^levels` and cropped back.
    Channels go up to 8 times `width`; cost a pixel, for 3 levels: about `96 width^2` multiply-adds.

    Raises:
        ValueError: `levels` is below 1.

    Reference: Wang et al. 2021, "Real-ESRGAN", section 3.3 and figure 6; Schoenfeld et al. 2020, "A U-Net based
    discriminator for generative adversarial networks", section 3.1.
    """

    width: int = 64
    levels: int = 3
    spectral: bool = True
    dtype: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1:
            raise ValueError(f"UNetDiscriminator.levels must be 1 or above, not {self.levels}: without, it is no U.")

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], cond: Float[Array, "b h w k"] | None = None
    ) -> Float[Array, "b h w 1"]:
        """One logit a pixel; pictures of any size, in [-1, 1]."""

        def conv(h: Array, features: int, name: str, size: int = 3) -> Array:
            stride = 2 if size == 4 else 1
            free = not self.spectral
            layer = PatchConv(features, stride, self.spectral, self.dtype, size, use_bias=free, name=name)
            return jax.nn.leaky_relu(layer(h), 0.2)

        h, (height, width) = pad_to_multiple(seen(x, cond), 2**self.levels)
        stem = PatchConv(self.width, 1, False, self.dtype, size=3, name="stem")
        h = jax.nn.leaky_relu(stem(h), 0.2)
        widths = [self.width * min(2**level, 8) for level in range(self.levels + 1)]
        skips = []
        for level in range(self.levels):
            skips.append(h)
            h = conv(h, widths[level + 1], f"down{level}", size=4)
        for level in reversed(range(self.levels)):
            h = conv(doubled(h), widths[level], f"up{level}") + skips.pop()
        for k in range(2):
            h = conv(h, self.width, f"head{k}")
        logits = PatchConv(1, 1, False, self.dtype, size=3, name="head")(h)
        return logits[:, :height, :width].astype(x.dtype)


class MultiScale(nn.Module):
    """`scales` discriminators like `judge`, each with its own parameters, the k-th on the picture halved k times.

    Halving is the mean of 2x2 pixels, of the mirrored edge at an odd side: the coarse ones see all of the composition,
    the fine one the grain. A method weighs each map alike, whatever its size.

    Raises:
        ValueError: `scales` is below 1.

    Reference: Wang et al. 2018, "High-resolution image synthesis and semantic manipulation with conditional GANs",
    section 3.2.
    """

    judge: nn.Module
    scales: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scales < 1:
            raise ValueError(f"MultiScale.scales must be 1 or above, not {self.scales}.")

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], cond: Float[Array, "b h w k"] | None = None
    ) -> tuple[Float[Array, "b _ _ 1"], ...]:
        """The map of each scale, the finest first."""
        maps = []
        for k in range(self.scales):
            if k:
                x, cond = halved(x), None if cond is None else halved(cond)
            maps.append(self.judge.copy(name=f"scale{k}")(x, cond))
        return tuple(maps)


def halved(x: Float[Array, "b h w c"]) -> Float[Array, "b H W c"]:
    """The mean of each 2x2 pixels, `ceil(h / 2)` by `ceil(w / 2)` of them."""
    x, _ = pad_to_multiple(x, 2)
    b, h, w, c = x.shape
    return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))
