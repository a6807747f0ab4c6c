"""Attention, along channels, inside windows and over whole pictures, each in its fastest exact form.

    squeeze-and-excitation   channels weighted by what their means say                 ChannelAttention
    transposed               channels mix by how alike their pictures are: c d a pixel TransposedAttention
    windowed                 pixels of a w x w window look at each other: w^2 c        WindowAttention
    full                     every pixel looks at every other: h w c                   FullAttention

On a CPU what counts is memory: one transpose brings the heads of queries, keys and values to the front together, all
dots are batched ones of contiguous matrices, and a linear map after another is multiplied into it first. Arrays have
rank 4 at most, which phone runtimes take. Softmax and the norms it is taken of are float32 at least.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax import lax
from jaxtyping import Array, Float

from restore_jax.nets.layers import DepthwiseConv, PointwiseConv, at_least_float32

MASKED = -100.0  # the published logit of a pair that may not look at each other: exp(-100) is less than a rounding
QUERIES = 1024  # of a whole picture are asked at a time

PART = 32  # numbers at most that an interpreter adds up one after the other

_LEAVING: contextvars.ContextVar[bool] = contextvars.ContextVar("leaving", default=False)
_NAMED: contextvars.ContextVar[bool] = contextvars.ContextVar("named", default=False)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """What is traced inside leaves as a file, for an interpreter of operators instead of a compiler.

    `picture_mean` takes means of means: a sum of n numbers one after the other, which is how interpreters add, is off
    by up to n roundings. `full_attention` is written out block by block, for no file has loops.
    """
    token = _LEAVING.set(True)
    try:
        yield
    finally:
        _LEAVING.reset(token)


@contextlib.contextmanager
def named() -> Iterator[None]:
    """`gelu` traced inside is one operation with a name, of which TFLite's converter would see a polynomial."""
    token = _NAMED.set(True)
    try:
        yield
    finally:
        _NAMED.reset(token)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x Phi(x)`, Phi the normal distribution: `x (1 + erf(x / sqrt(2))) / 2`.

    By erf, of which XLA has a polynomial; by erfc, as `jax.nn.gelu` takes it, the same costs three times as long on a
    CPU. It is exact to a rounding of x, and not of the result where that is nearly zero.

    Reference: Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2.
    """
    return _named_gelu(x, approximate="none") if _NAMED.get() else _gelu(x)


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + lax.erf(x * math.sqrt(0.5)))


_named_gelu = lax.composite(lambda x, approximate: _gelu(x), "aten.gelu.default")


# ---------------------------------------------------------------------------------------------
# Along channels
# ---------------------------------------------------------------------------------------------


_POOLING: contextvars.ContextVar[Callable[[Array], Array] | None] = contextvars.ContextVar("pooling", default=None)


@contextlib.contextmanager
def pooled_as(pooling: Callable[[Array], Array]) -> Iterator[None]:
    """`pooled(x)` is `pooling(x)` in nets that are traced inside: a tile told the means of its whole picture."""
    token = _POOLING.set(pooling)
    try:
        yield
    finally:
        _POOLING.reset(token)


def pooled(x: Float[Array, "b h w c"]) -> Float[Array, "b 1 1 c"]:
    """The mean of each channel over the picture, or what `pooled_as` says it is."""
    pooling = _POOLING.get()
    return picture_mean(x) if pooling is None else pooling(x)


def picture_mean(x: Float[Array, "b h w c"]) -> Float[Array, "b 1 1 c"]:
    """The mean of each channel over the picture; `leaving`, of equal parts of it, of `PART` pixels at most."""
    if not _LEAVING.get():
        return x.mean((1, 2), keepdims=True)
    b, h, w, c = x.shape
    pixels = h * w
    while (part := max(n for n in range(1, PART + 1) if pixels % n == 0)) > 1:
        pixels //= part
        x = x.reshape(b, pixels, part, c).mean(2)
    return x.reshape(b, pixels, 1, c).mean((1, 2), keepdims=True)


class ChannelAttention(nn.Module):
    """`x sigmoid(up(relu(down(mean(x)))))`, a weight a channel: squeeze and excitation.

    `down` has `c / reduction` channels, one at least. Costs a pass over `x` for the mean and one for the product.

    Reference: Hu et al. 2018, "Squeeze-and-Excitation Networks", section 3; Zhang et al. 2018 (RCAN), section 3.3.
    """

    reduction: int = 16
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """`x`, its channels weighted."""
        c = x.shape[-1]
        mean = pooled(x)
        squeezed = jax.nn.relu(PointwiseConv(max(1, c // self.reduction), dtype=self.dtype, name="down")(mean))
        weight = jax.nn.sigmoid(PointwiseConv(c, dtype=self.dtype, name="up")(squeezed))
        return x * weight.astype(x.dtype)


def channel_weights(
    q: Float[Array, "b n c"], k: Float[Array, "b n c"], temperature: Float[Array, " heads"]
) -> Float[Array, "b heads d d"]:
    """How much channel i of a head takes of channel j: `softmax_j(temperature <q_i, k_j> / (|q_i| |k_j|))`.

    Dots and norms are over the n pixels. The norms divide the d x d products and not the pixels: two passes over
    memory less, and the same numbers.

    Reference: Zamir et al. 2022, "Restormer", eq. 1.
    """
    heads, c = temperature.shape[0], q.shape[-1]
    d = c // heads
    single = jnp.promote_types(q.dtype, jnp.float32)

    def head(i):
        a, b = q[..., i * d : (i + 1) * d], k[..., i * d : (i + 1) * d]
        return jnp.matmul(a.swapaxes(1, 2), b, preferred_element_type=single)

    def norm(a):
        (a,) = at_least_float32(a)
        return jnp.sqrt(jnp.maximum(jnp.square(a).sum(1), 1e-24)).reshape(-1, heads, d)

    cosines = jnp.stack([head(i) for i in range(heads)], 1) / (norm(q)[..., None] * norm(k)[:, :, None])
    return jax.nn.softmax(cosines * temperature.astype(single).reshape(1, heads, 1, 1))


class TransposedAttention(nn.Module):
    """Multi-head attention between channels, after a depthwise convolution: Restormer's MDTA.

        q, k, v = split(depthwise3(pointwise(x)));    out = project(channel_weights(q, k, temperature) v)

    The weights, a matrix a head and picture, are multiplied into the projection: one dot a pixel instead of two. Costs
    `c^2 (4 + 1 / heads) + 27 c` multiply-adds a pixel.

    Reference: Zamir et al. 2022, "Restormer", section 3.1.
    """

    heads: int
    use_bias: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Same shape."""
        b, h, w, c = x.shape
        d = c // _divides(self, c)
        temperature = self.param("temperature", nn.initializers.ones, (self.heads,))
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (c, c))
        bias = self.param("bias", nn.initializers.zeros, (c,)) if self.use_bias else None
        qkv = PointwiseConv(3 * c, use_bias=self.use_bias, dtype=self.dtype, name="qkv")(x)
        qkv = DepthwiseConv(use_bias=self.use_bias, dtype=self.dtype, name="qkv_conv")(qkv)
        q, k, v = jnp.split(qkv.reshape(b, h * w, 3 * c), 3, axis=-1)
        weights = channel_weights(q, k, temperature).astype(v.dtype)
        v, kernel, bias = promote_dtype(v, kernel, bias, dtype=self.dtype)
        out = v @ (weights.swapaxes(-1, -2) @ kernel.reshape(1, self.heads, d, c)).reshape(b, c, c)
        return (out if bias is None else out + bias.reshape(1, 1, c)).reshape(b, h, w, c)


# ---------------------------------------------------------------------------------------------
# Between pixels
# ---------------------------------------------------------------------------------------------


def attend(
    q: Float[Array, "n heads t d"],
    k: Float[Array, "n heads s d"],
    v: Float[Array, "n heads s d"],
    bias: Float[Array, "1 heads t s"] | None = None,
    same: Array | None = None,
) -> Float[Array, "n heads t d"]:
    """`softmax(q k^T / sqrt(d) + bias) v`; pairs that are not the `same` (`[n 1 t s]`) are `MASKED`.

    Costs 2 t s d multiply-adds and t s exponentials a head.

    Reference: Vaswani et al. 2017, "Attention Is All You Need", eq. 1.
    """
    single = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.matmul(q * q.shape[-1] ** -0.5, k.swapaxes(-1, -2), preferred_element_type=single)
    scores = scores if bias is None else biased(scores, bias.astype(single))
    scores = scores if same is None else jnp.where(same, scores, scores + MASKED)
    return jax.nn.softmax(scores).astype(v.dtype) @ v


@jax.custom_jvp
def biased(scores: Float[Array, "n heads t s"], bias: Float[Array, "1 heads t s"]) -> Float[Array, "n heads t s"]:
    """`scores + bias`, whose derivative in `bias` is a dot: n ones by the n scores that a bias was added to.

    On a CPU XLA takes a sum over the first axis ten times slower than that: a seventh of a training step of SwinIR.
    """
    return scores + bias


@biased.defjvp
def _biased_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (scores, bias), (scores_dot, bias_dot) = primals, tangents
    n = scores.shape[0]
    everywhere = jnp.ones((n, 1), bias_dot.dtype) @ bias_dot.reshape(1, -1)
    return scores + bias, scores_dot + everywhere.reshape(scores.shape)


def full_attention(
    q: Float[Array, "n heads t d"],
    k: Float[Array, "n heads t d"],
    v: Float[Array, "n heads t d"],
    queries: int = QUERIES,
) -> Float[Array, "n heads t d"]:
    """`attend` of all to all; beyond `queries` pixels a head and that many queries at a time.

    The memory is then `queries t` numbers and not `n heads t^2` (`leaving`, `n heads queries t`), and the gradient
    computes the scores again.
    """
    t, d = q.shape[-2:]
    if t <= queries:
        return attend(q, k, v)
    if _LEAVING.get():
        return jnp.concatenate([attend(q[:, :, i : i + queries], k, v) for i in range(0, t, queries)], axis=2)
    n = q.shape[0] * q.shape[1]
    blocks = jnp.pad(q, [(0, 0), (0, 0), (0, -t % queries), (0, 0)]).reshape(n, -1, queries, d)

    def head(qkv):
        q, k, v = qkv
        return lax.map(jax.checkpoint(lambda block: attend(block[None, None], k, v)[0, 0]), q)

    out = lax.map(head, (blocks, *(a.reshape(n, 1, 1, t, d) for a in (k, v))))
    return out.reshape(*q.shape[:2], -1, d)[:, :, :t]


def split_heads(qkv: Float[Array, "n t c3"], heads: int) -> tuple[Array, Array, Array]:
    """Queries, keys and values, `[n heads t d]` each, of pixels that hold them one after the other, head by head."""
    n, t, c3 = qkv.shape
    q, k, v = jnp.split(qkv.reshape(n, t, 3 * heads, c3 // (3 * heads)).swapaxes(1, 2), 3, axis=1)
    return q, k, v


def join_heads(x: Float[Array, "n heads t d"]) -> Float[Array, "n t c"]:
    """The heads' answers side by side, pixel by pixel."""
    n, heads, t, d = x.shape
    return x.swapaxes(1, 2).reshape(n, t, heads * d)


class FullAttention(nn.Module):
    """Multi-head attention of every pixel to every pixel: `project(full_attention(split(pointwise(x))))`.

    Costs `4 c^2 + 2 h w c` multiply-adds a pixel. It knows no places: give them to `x`.

    Reference: Vaswani et al. 2017, section 3.2; Peebles & Xie 2023 (DiT), section 3.2.
    """

    heads: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Same shape."""
        b, h, w, c = x.shape
        _divides(self, c)
        qkv = PointwiseConv(3 * c, dtype=self.dtype, name="qkv")(x)
        out = join_heads(full_attention(*split_heads(qkv.reshape(b, h * w, 3 * c), self.heads)))
        return PointwiseConv(c, dtype=self.dtype, name="out")(out.reshape(b, h, w, c))


def to_windows(x: Float[Array, "b h w c"], window: int) -> Float[Array, "n t c"]:
    """The `window` x `window` windows of each picture, row by row, their pixels row by row; t = window^2.

    Raises:
        ValueError: sides that `window` does not divide.
    """
    b, h, w, c = x.shape
    if h % window or w % window:
        raise ValueError(f"to_windows wants sides that window={window} divides, got {h}x{w}; see pad_to_multiple.")
    rows = x.reshape(b * (h // window), window, w // window, window * c).swapaxes(1, 2)
    return rows.reshape(-1, window * window, c)


def from_windows(windows: Float[Array, "n t c"], window: int, h: int, w: int) -> Float[Array, "b h w c"]:
    """The pictures of height `h` and width `w` whose windows these are; the inverse of `to_windows`."""
    c = windows.shape[-1]
    rows = windows.reshape(-1, w // window, window, window * c).swapaxes(1, 2)
    return rows.reshape(-1, h, w, c)


def relative_positions(window: int) -> np.ndarray:
    """`[t t]`: which row of a table of `(2 window - 1)^2` displacements is that from pixel j to pixel i of a window.

    Reference: Liu et al. 2021, "Swin Transformer", section 3.2, relative position bias.
    """
    place = np.stack(np.divmod(np.arange(window * window), window), -1)
    rows, columns = np.moveaxis(place[:, None] - place[None] + window - 1, -1, 0)
    return rows * (2 * window - 1) + columns


def window_parts(h: int, w: int, window: int, shift: int) -> np.ndarray:
    """`[n t]`: to which part of the picture the pixels of its windows belong, after a cyclic shift by `shift`.

    The last windows hold the picture's end and its beginning, which are no neighbours: parts of 1 row, 2 column.

    Reference: Liu et al. 2021, "Swin Transformer", figure 4.
    """
    part = (np.arange(h) >= h - shift)[:, None] * 1 + (np.arange(w) >= w - shift)[None] * 2
    rows = part.reshape(h // window, window, w // window, window).swapaxes(1, 2)
    return rows.reshape(-1, window * window)


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, with a learned bias a displacement: W-MSA, or SW-MSA with a `shift`.

        out = project(softmax(q k^T / sqrt(d) + table[displacement]) v)        among the pixels of a window

    Shifted, the windows start `shift` pixels further; those at the border are cut there. Costs `4 c^2 + 2 window^2 c`
    multiply-adds a pixel. For sides that `window` divides.

    Reference: Liu et al. 2021, "Swin Transformer", section 3.2.
    """

    heads: int
    window: int = 8
    shift: int = 0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Same shape."""
        (b, h, w, c), window, shift = x.shape, self.window, self.shift
        _divides(self, c)
        if not 0 <= shift < window:
            raise ValueError(f"WindowAttention.shift is 0 to window - 1 = {window - 1}, got {shift}.")
        init = nn.initializers.truncated_normal(0.02)
        table = self.param("table", init, ((2 * window - 1) ** 2, self.heads))
        bias = table[relative_positions(window).reshape(-1)].T.reshape(1, self.heads, window**2, window**2)
        same = None
        if shift:
            x = jnp.roll(x, (-shift, -shift), (1, 2))
            parts = jnp.tile(jnp.asarray(window_parts(h, w, window, shift)), (b, 1))
            same = parts[:, None, :, None] == parts[:, None, None, :]
        windows = to_windows(x, window)[None]
        qkv = PointwiseConv(3 * c, dtype=self.dtype, name="qkv")(windows)[0]
        out = join_heads(attend(*split_heads(qkv, self.heads), bias, same))
        out = from_windows(PointwiseConv(c, dtype=self.dtype, name="out")(out[None])[0], window, h, w)
        return jnp.roll(out, (shift, shift), (1, 2)) if shift else out


def _divides(module: Any, channels: int) -> int:
    """The module's heads, which must divide its channels."""
    if module.heads < 1 or channels % module.heads:
        raise ValueError(
            f"{type(module).__name__}.heads wants a divisor of the {channels} channels, got {module.heads}."
        )
    return module.heads
