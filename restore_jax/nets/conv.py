"""Dense convolutions in the forms that XLA:CPU is quick with, forwards and backwards.

    out = conv(pad(x), pad(kernel))[..., :c_out]      channels filled up with zeros to a multiple of 16, for YNNPACK
    dx = conv(g, flip(kernel)^T)                      written as another forward convolution
    dkernel = sum over pieces of conv(x^T, g)         pieces of a picture that stay in the cache

A 3x3 kernel between enough channels takes half of the products, value and gradients (`nets.winograd`). To
three colours or one, a picture is projected for all taps by one dot and the answers are shifted and added: a quarter
of the time, and of the kernel's gradient a fifth (64 channels of 384 x 384 pixels, one core of an AMD EPYC).

What it costs to leave all this to XLA, on two cores: 46 channels of 128 x 128 pixels take 15.7 ms, and 48 take 5.5.
(With `cpu.convolve_by_eigen` they do not, and RFDN without zeros takes four fifths of the time.)
The gradient of a kernel from sixteen pictures of 48 x 48 and 64 channels takes 90 ms in one piece, and 35 in many.
Inside a loop (`lax.scan` of several training steps, or of parts of a batch) XLA does not bring the two gradients into
the form that its fast routine takes, and they run forty times slower; here they have that form from the start.

All others are exact: the same sums, in another order, and zeros added to them. Nothing of this is done beyond a single
CPU, nor in a graph that leaves (`layers.depthwise_as`); below 17 channels none are added, which costs more than it
saves.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from restore_jax.cpu import by_eigen
from restore_jax.nets.layers import at_least_float32, depthwise_form, divisor
from restore_jax.nets.winograd import LAYOUT, TAPS, winograd_conv, winograd_correlate

LANES = 16
PIECE_PX = 1152  # pixels of which a kernel's gradient is summed at once: half of 48 x 48
# From how many channels, in and out, half of the products are worth the sums that Winograd's form takes for them: where
# Eigen convolves; where YNNPACK does, which is quick with few channels of the answer, and slow along the rows of large
# pictures; for the gradient of a kernel.
HALVED_BY_EIGEN, HALVED_BY_YNNPACK, HALVED_GRADIENT, NEVER = (16, 8), (16, 17), (32, 32), (1 << 30, 1 << 30)
HALVED_ROWS, HALVED_YNNPACK_PX = 8, 128 * 128
# Up to how many numbers a pixel, the answer's channels at each tap, it is better to project than to convolve.
NARROW_SUMS = 36


def filled(channels: int) -> int:
    """The number of channels that is convolved in the place of `channels`: the next multiple of 16 above 16.

    Where Eigen convolves (`cpu.by_eigen`), it is `channels`.
    """
    return channels if channels <= LANES or by_eigen() else -(-channels // LANES) * LANES


def dense_conv(
    x: Float[Array, "*b h w c"],
    kernel: Float[Array, "k l c_g d"],
    window_strides: Any = (1, 1),
    padding: Any = "SAME",
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = LAYOUT,
    feature_group_count: int = 1,
    **fields: Any,
) -> Float[Array, "*b H W d"]:
    """`lax.conv_general_dilated` of NHWC and HWIO in the form that is fast here; every option of it is taken."""
    c, d = kernel.shape[-2:]
    here = feature_group_count == 1 and depthwise_form(x) == "shifts"
    if here:
        more_c, more_d = filled(c) - c, filled(d) - d
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, more_c)]) if more_c else x
        kernel = jnp.pad(kernel, [(0, 0), (0, 0), (0, more_c), (0, more_d)]) if more_c or more_d else kernel
    pad = _even_padding(kernel, window_strides, padding, lhs_dilation, rhs_dilation) if here else None
    if pad is not None:
        return dense_conv_p.bind(x, kernel, pad=pad)[..., :d]
    out = lax.conv_general_dilated(
        x,
        kernel,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        dimension_numbers,
        feature_group_count,
        **fields,
    )
    return out[..., :d]


def _even_padding(kernel: Array, strides: Any, padding: Any, *dilations: Any) -> int | None:
    """The rows of zeros on each side of the picture, for a square kernel at stride 1; None for any other kind."""
    k, width = kernel.shape[:2]
    if k != width or k == 1 or any(n != 1 for numbers in (strides, *dilations) for n in numbers or ()):
        return None
    if padding == "VALID":
        return 0
    if padding == "SAME":
        return k // 2 if k % 2 else None
    sides = {side for edge in padding for side in edge} if not isinstance(padding, str) else set()
    return next(iter(sides)) if len(sides) == 1 and 0 <= min(sides) < k else None


# The convolution is linear in `x` and in `kernel`, and so is each of its derivatives:
#
#     D(x, kernel)[i] = sum_u kernel[u] x[i + u - pad]      C(x, g)[u] = sum_i x[i + u - pad] g[i]
#     <g, D(x, kernel)> = <D'(g, flip(kernel)^T), x> = <C(x, g), kernel>,      D' with padding k - 1 - pad
#
# Two bilinear primitives, as in `layers`, are each other's transposes and so close under differentiation.


def _form(taps: int, c: int, d: int, rows: int, dtype: Any, least: tuple[int, int]) -> str:
    """The form of a convolution from c to d channels, or of the gradient of its kernel: narrow, halved or plain.

    Of precisions below float32 the sums of Winograd's form would take too much.
    """
    if taps**2 * d <= NARROW_SUMS and c >= LANES:
        return "narrow"
    many = c >= least[0] and d >= least[1] and rows >= HALVED_ROWS
    return "halved" if many and taps == TAPS and jnp.finfo(dtype).bits >= 32 else "plain"


def _shifted(x: Array, u: int, v: int, taps: int, pad: int) -> Array:
    """`shifted[i, j] = x[i + u - pad, j + v - pad]`, zeros outside: one of `taps` x `taps` shifts."""
    sides = [(pad - s, pad - (taps - 1 - s), 0) for s in (u, v)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *sides, (0, 0, 0)])


def _narrow_conv(x: Array, kernel: Array, pad: int) -> Array:
    """`D(x, kernel)` of few channels: `sum_uv shift_uv(x kernel[u, v])`, all products in one dot."""
    (k, _, c, d), dtype = kernel.shape, x.dtype
    x, kernel = at_least_float32(x, kernel)
    # Behind a barrier: the sum of shifts would otherwise be taken for nine dots of one column each.
    products = lax.optimization_barrier(x.reshape(-1, c) @ kernel.transpose(2, 0, 1, 3).reshape(c, -1))
    products = products.reshape(*x.shape[:-1], k, k, d)
    parts = [_shifted(products[..., u, v, :], u, v, k, pad) for u in range(k) for v in range(k)]
    return sum(parts[1:], parts[0]).astype(dtype)


def _narrow_correlate(x: Array, g: Array, pad: int) -> Array:
    """`C(x, g)` with few channels of g: `x^T [shift_uv(g)]`, one dot; shifts the other way, so flipped."""
    c, d, k = x.shape[-1], g.shape[-1], x.shape[1] + 2 * pad - g.shape[1] + 1
    shifts = [_shifted(g, u, v, k, k - 1 - pad) for u in reversed(range(k)) for v in reversed(range(k))]
    places = lax.optimization_barrier(jnp.concatenate(shifts, -1)).reshape(-1, k * k * d)
    return (places.T @ x.reshape(-1, c)).reshape(k, k, d, c).swapaxes(-1, -2)


def _conv(x: Array, kernel: Array, *, pad: int) -> Array:
    """`D(x, kernel)`."""
    images, (k, _, c, d) = x.reshape(-1, *x.shape[-3:]), kernel.shape
    _, h, w, _ = images.shape
    few = HALVED_BY_YNNPACK if h * w <= HALVED_YNNPACK_PX else NEVER
    form = _form(k, c, d, h + 2 * pad - k + 1, x.dtype, HALVED_BY_EIGEN if by_eigen() else few)
    out = {"narrow": _narrow_conv, "halved": winograd_conv, "plain": _plain_conv}[form](images, kernel, pad)
    return out.reshape(*x.shape[:-3], *out.shape[1:])


def _plain_conv(x: Array, kernel: Array, pad: int) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=LAYOUT)


def _correlate(x: Array, g: Array, *, pad: int) -> Array:
    """`C(x, g)`."""
    rows, dtype = g.shape[-3], x.dtype
    k = x.shape[-3] + 2 * pad - rows + 1
    x, g = (a.reshape(-1, *a.shape[-3:]) for a in at_least_float32(x, g))
    form = _form(k, x.shape[-1], g.shape[-1], rows, dtype, HALVED_GRADIENT)
    forms = {"narrow": _narrow_correlate, "halved": winograd_correlate, "plain": _plain_correlate}
    return forms[form](x, g, pad).astype(dtype)


def _plain_correlate(x: Array, g: Array, pad: int) -> Array:
    """Of each piece, the channels of x are taken for pictures, and g for a kernel as large as the piece."""
    h, w = g.shape[-3:-1]
    x = jnp.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    more = x.shape[1] - h
    rows = divisor(h, PIECE_PX // w)
    bands = h // rows

    def add(i: Any, total: Array) -> Array:
        corner = (i // bands, i % bands * rows, 0, 0)
        window = lax.dynamic_slice(x, corner, (1, rows + more, *x.shape[2:])).transpose(3, 1, 2, 0)
        kernel = lax.dynamic_slice(g, corner, (1, rows, *g.shape[2:])).transpose(1, 2, 0, 3)
        return total + lax.conv_general_dilated(window, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)

    zeros = jnp.zeros((x.shape[-1], more + 1, more + 1, g.shape[-1]), x.dtype)
    return lax.fori_loop(0, x.shape[0] * bands, add, zeros).transpose(1, 2, 0, 3)


def _conv_shape(x: Any, kernel: Any, *, pad: int) -> Any:
    *b, h, w, _ = x.shape
    more = 2 * pad + 1 - kernel.shape[0]
    return x.update(shape=(*b, h + more, w + more, kernel.shape[-1]))


def _correlate_shape(x: Any, g: Any, *, pad: int) -> Any:
    k = x.shape[-3] + 2 * pad + 1 - g.shape[-3]
    return x.update(shape=(k, k, x.shape[-1], g.shape[-1]))


dense_conv_p = Primitive("dense_conv")  # D(x, kernel)
dense_conv_p.def_impl(jax.jit(_conv, static_argnames="pad"))
dense_conv_p.def_abstract_eval(_conv_shape)
mlir.register_lowering(dense_conv_p, mlir.lower_fun(_conv, multiple_results=False))

dense_correlate_p = Primitive("dense_correlate")  # C(x, g)
dense_correlate_p.def_impl(jax.jit(_correlate, static_argnames="pad"))
dense_correlate_p.def_abstract_eval(_correlate_shape)
mlir.register_lowering(dense_correlate_p, mlir.lower_fun(_correlate, multiple_results=False))


def _turned(kernel: Array) -> Array:
    """`flip(kernel)^T`."""
    return kernel[::-1, ::-1].swapaxes(-1, -2)


ad.defbilinear(
    dense_conv_p,
    lambda g, x, kernel, pad: dense_conv_p.bind(g, _turned(kernel), pad=kernel.shape[0] - 1 - pad),
    lambda g, x, kernel, pad: dense_correlate_p.bind(x, g, pad=pad),
)
ad.defbilinear(
    dense_correlate_p,
    lambda t, x, g, pad: dense_conv_p.bind(g, _turned(t), pad=t.shape[0] - 1 - pad),
    lambda t, x, g, pad: dense_conv_p.bind(x, t, pad=pad),
)


def _batch_conv(arrays: Any, axes: Any, *, pad: int) -> tuple[Array, int]:
    """vmap over images alone, the usual case, is one more leading axis; kernels of their own are XLA's matter."""
    x, kernel = arrays
    if axes[1] is None:
        return dense_conv_p.bind(jnp.moveaxis(x, axes[0], 0), kernel, pad=pad), 0

    def plain(x: Array, kernel: Array) -> Array:
        out = _plain_conv(x.reshape(-1, *x.shape[-3:]), kernel, pad)
        return out.reshape(*x.shape[:-3], *out.shape[1:])

    return jax.vmap(plain, axes)(x, kernel), 0


def _batch_correlate(arrays: Any, axes: Any, *, pad: int) -> tuple[Array, int]:
    return jax.vmap(functools.partial(_correlate, pad=pad), axes)(*arrays), 0


batching.primitive_batchers[dense_conv_p] = _batch_conv
batching.primitive_batchers[dense_correlate_p] = _batch_correlate


# A linen module like nn.Conv, called like it, with the same parameters under the same names.
Conv = functools.partial(nn.Conv, conv_general_dilated=dense_conv)
