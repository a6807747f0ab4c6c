"""The layers whose plain form is slow somewhere, each in its fastest exact form.

XLA:CPU is quick at long fused loops over contiguous memory, at dots, and at the sum of a product.
It is slow at grouped convolutions, at loops that hold a reduction inside a reduction, and at
whatever makes it write an image to memory nine times. So, on a CPU:

    depthwise 3x3   nine shifted products in one fused loop; its kernel's gradient in row blocks
    1x1             one dot over the flattened pixels
    LayerNorm       pixels flattened to rows, and a derivative written by hand

A GPU is good at grouped convolutions and gets `lax.conv`; `depthwise_form` is the only place where
the two part. Everything here is differentiable forwards (jvp) and backwards (vjp), as often as one
likes, and batches under vmap. Sums are float32 at least, whatever the arrays are stored in.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def at_least_float32(*arrays: Array) -> list[Array]:
    """The arrays in a precision that sums may be taken in."""
    return [a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in arrays]


def divisor(n: int, most: int) -> int:
    """The largest divisor of `n` up to `most`, 1 at least: pieces of one size need one program."""
    return next(d for d in range(max(1, min(n, most)), 0, -1) if n % d == 0)


def per_channel(v: Float[Array, " c"], x: Array) -> Array:
    """`v`, one number a channel, shaped so that it broadcasts against `x`."""
    return v.reshape((1,) * (x.ndim - 1) + v.shape)


# ---------------------------------------------------------------------------------------------
# Depthwise convolution
# ---------------------------------------------------------------------------------------------

_FORM: contextvars.ContextVar[str | None] = contextvars.ContextVar("depthwise form", default=None)


@contextlib.contextmanager
def depthwise_as(form: str) -> Iterator[None]:
    """Whatever is traced inside takes this form of `depthwise_conv`: "shifts" or "conv".

    Export asks for "conv": a phone's runtime knows a grouped convolution when it sees one, and wants
    its kernels constant (`pointwise_conv`).
    """
    token = _FORM.set(form)
    try:
        yield
    finally:
        _FORM.reset(token)


def depthwise_form(x: Array) -> str:
    """The form for `x` on this backend: "shifts" on a single CPU, "conv" everywhere else.

    The shifts are told apart from several devices (a mesh in the type of `x`) because their row
    blocks cut across whatever axis the mesh divides.
    """
    single_cpu = jax.default_backend() == "cpu" and jax.typeof(x).sharding.mesh.empty
    return _FORM.get() or ("shifts" if single_cpu else "conv")


def depthwise_conv(x: Float[Array, "*b h w c"], kernel: Float[Array, "k k 1 c"]) -> Float[Array, "*b h w c"]:
    """Each channel convolved with its own k x k kernel, k = 2 r + 1 odd, zeros outside the image.

        out[i, j, c] = sum_uv kernel[u, v, 0, c] x[i + u - r, j + v - r, c]

    Costs k^2 multiply-adds a number.

    Reference: Chollet 2017, "Xception", section 2.
    """
    k, _, _, c = kernel.shape
    if k % 2 == 0:
        raise ValueError(f"depthwise_conv wants an odd kernel, so that it has a middle; got {k}x{k}.")
    if depthwise_form(x) == "shifts":
        return depthwise_conv_p.bind(x, kernel)
    out = lax.conv_general_dilated(
        x.reshape(-1, *x.shape[-3:]),
        kernel,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=c,
    )
    return out.reshape(x.shape)


# The convolution is linear in `x` and in `kernel`, and so is each of its derivatives:
#
#     D(x, kernel)[i] = sum_u kernel[u] x[i + u - r]        C(x, g)[u] = sum_i x[i + u - r] g[i]
#     <g, D(x, kernel)> = <D(g, flip kernel), x> = <C(x, g), kernel>
#
# Two bilinear primitives, D and C, are each other's transposes and so close under differentiation.
# A custom_vjp would not do: it forbids the jvp that consistency targets (sCM, MeanFlow) are made of.


def _shifted_products(x: Array, kernel: Array) -> Array:
    """`D(x, kernel)`: k^2 products in one loop; padding them, not `x`, spares a copy of `x`.

    The loop is a branch, taken unless the kernel is all zeros. The compiler fuses nothing across a
    branch: without it, it would weave the loop into each user of the output (the two halves of a
    gate, their gradients) and compute it again for every one of them.
    """
    k, r, dtype = kernel.shape[0], kernel.shape[0] // 2, x.dtype

    def products(x, kernel):
        x, kernel = at_least_float32(x, kernel)
        out: Any = None
        for u in range(k):
            for v in range(k):
                edges = [(0, 0, 0)] * (x.ndim - 3) + [(r - u, u - r, 0), (r - v, v - r, 0), (0, 0, 0)]
                shifted = lax.pad(x * per_channel(kernel[u, v, 0], x), jnp.zeros((), x.dtype), edges)
                out = shifted if out is None else out + shifted
        return out.astype(dtype)

    return lax.cond(kernel.any(), products, lambda x, kernel: jnp.zeros_like(x), x, kernel)


def _correlate_rows(x: Array, g: Array, *, k: int) -> Array:
    """`C(x, g)`, by blocks of rows that stay in the cache while all k^2 taps read them.

    A block adds its rows up tap by tap, keeping the columns apart (a loop over contiguous memory);
    the columns are summed once, at the end. The next block rides in the loop's state: sliced inside
    the sums, its moving address would keep the compiler from vectorising them.
    """
    (h, w, c), r, dtype = x.shape[-3:], k // 2, x.dtype
    rows = divisor(h, 4)
    x, g = (a.reshape(-1, h, w, c) for a in at_least_float32(x, g))
    x = jnp.pad(x, [(0, 0), (r, r), (r, r), (0, 0)])
    b, blocks = x.shape[0], h // rows

    def block(i):
        def cut(a, n):
            return lax.dynamic_slice(a, (i // blocks, i % blocks * rows, 0, 0), (1, n, *a.shape[2:])).reshape(n, -1)

        return cut(x, rows + 2 * r), cut(g, rows)

    def add_block(i, state):
        (xs, gs), sums = state
        taps = [(u, v) for u in range(k) for v in range(k)]
        sums = [s + sum(xs[n + u, v * c : (v + w) * c] * gs[n] for n in range(rows)) for s, (u, v) in zip(sums, taps)]
        return block(i + 1), sums  # past the last block the slice clamps, and is not read

    start = (block(0), [jnp.zeros(w * c, x.dtype)] * (k * k))
    _, sums = lax.fori_loop(0, b * blocks, add_block, start)
    return jnp.stack(sums).reshape(k, k, w, c).sum(2)[:, :, None].astype(dtype)


depthwise_conv_p = Primitive("depthwise_conv")  # D(x, kernel)
depthwise_conv_p.def_impl(jax.jit(_shifted_products))
depthwise_conv_p.def_abstract_eval(lambda x, kernel: x)
mlir.register_lowering(depthwise_conv_p, mlir.lower_fun(_shifted_products, multiple_results=False))

depthwise_correlate_p = Primitive("depthwise_correlate")  # C(x, g)
depthwise_correlate_p.def_impl(jax.jit(_correlate_rows, static_argnames="k"))
depthwise_correlate_p.def_abstract_eval(lambda x, g, *, k: x.update(shape=(k, k, 1, x.shape[-1])))
mlir.register_lowering(depthwise_correlate_p, mlir.lower_fun(_correlate_rows, multiple_results=False))


def _flip(kernel: Array) -> Array:
    return kernel[::-1, ::-1]


ad.defbilinear(
    depthwise_conv_p,
    lambda g, x, kernel: depthwise_conv_p.bind(g, _flip(kernel)),
    lambda g, x, kernel: depthwise_correlate_p.bind(x, g, k=kernel.aval.shape[0]),
)
ad.defbilinear(
    depthwise_correlate_p,
    lambda t, x, g, k: depthwise_conv_p.bind(g, _flip(t)),
    lambda t, x, g, k: depthwise_conv_p.bind(x, t),
)


def _batch_as_channels(primitive, arrays, axes, **params):
    """vmap: channels do not mix, so a batch of depthwise problems is one with more channels."""
    n = next(a.shape[axis] for a, axis in zip(arrays, axes) if axis is not None)
    wide = []
    for a, axis in zip(arrays, axes):
        one = axis is None
        a = jnp.broadcast_to(a[..., None, :], (*a.shape[:-1], n, a.shape[-1])) if one else jnp.moveaxis(a, axis, -2)
        wide.append(a.reshape(*a.shape[:-2], -1))
    out = primitive.bind(*wide, **params)
    return out.reshape(*out.shape[:-1], n, -1), out.ndim - 1


def _batch_images(arrays, axes):
    """vmap over images alone, the usual case, is one more leading axis."""
    x, kernel = arrays
    if axes[1] is None:
        return depthwise_conv_p.bind(jnp.moveaxis(x, axes[0], 0), kernel), 0
    return _batch_as_channels(depthwise_conv_p, arrays, axes)


batching.primitive_batchers[depthwise_conv_p] = _batch_images
batching.primitive_batchers[depthwise_correlate_p] = functools.partial(_batch_as_channels, depthwise_correlate_p)


# ---------------------------------------------------------------------------------------------
# 1x1 convolution and normalisation
# ---------------------------------------------------------------------------------------------


def pointwise_conv(
    x: Float[Array, "*b h w ci"],
    kernel: Float[Array, "ci co"],
    bias: Float[Array, " co"] | None = None,
    scale: Float[Array, "*b 1 1 ci"] | None = None,
) -> Float[Array, "*b h w co"]:
    """`out[i, j] = (scale x[i, j]) @ kernel + bias`: a 1x1 convolution, as one dot over the flattened pixels.

    Costs ci co multiply-adds a pixel. The dot of a 4-D array is the same number, and its gradient
    takes four times as long on a CPU; a bias added to the 4-D output has its gradient computed twice.
    `scale`, one number an image and channel, multiplies the rows of the kernel instead of the pixels:
    a kernel an image, and one pass over memory less (as far as `depthwise_as("conv")`, where a phone
    wants a kernel that it knows beforehand).
    """
    ci, co = kernel.shape
    if scale is not None and _FORM.get() == "conv":
        x, scale = x * scale, None
    if _FORM.get() == "conv" and x.size == ci:  # the TFLite converter fuses a dot of one row to what it refuses
        out = (x.reshape(ci, 1) * kernel).sum(0)
        return (out if bias is None else out + bias).reshape(*x.shape[:-1], co)
    if scale is None:
        out = x.reshape(-1, ci) @ kernel
        out = out if bias is None else out + bias[None]
    else:
        out = x.reshape(-1, x.shape[-3] * x.shape[-2], ci) @ (scale.reshape(-1, ci, 1) * kernel[None])
        out = out if bias is None else out + bias[None, None]
    return out.reshape(*x.shape[:-1], co)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _normalize(rows: Float[Array, "n c"], epsilon: float) -> Float[Array, "n c"]:
    """Each row to zero mean and unit variance. The variance is of the differences, taken second."""
    centred = rows - rows.mean(-1, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)


@_normalize.defjvp
def _normalize_jvp(epsilon, primals, tangents):
    """`d out = (dx - mean(dx) - out mean(out dx)) / std`: a projection, so it is its own transpose."""
    (rows,), (d,) = primals, tangents
    centred = rows - rows.mean(-1, keepdims=True)
    inverse_std = lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)
    out = centred * inverse_std
    return out, inverse_std * (d - d.mean(-1, keepdims=True) - out * (out * d).mean(-1, keepdims=True))


def layer_norm(
    x: Float[Array, "*b c"], scale: Float[Array, " c"], bias: Float[Array, " c"], epsilon: float = 1e-6
) -> Float[Array, "*b c"]:
    """`(x - mean) / sqrt(var + epsilon) * scale + bias`, mean and variance over channels, pixel by pixel.

    The variance is two-pass, `mean((x - mean)^2)`: `mean(x^2) - mean^2` cancels for bright flat areas.

    Reference: Ba et al. 2016, "Layer Normalization", eq. 4.
    """
    (rows,) = at_least_float32(x.reshape(-1, x.shape[-1]))
    return (_normalize(rows, epsilon) * scale[None] + bias[None]).reshape(x.shape).astype(x.dtype)


# ---------------------------------------------------------------------------------------------
# Without parameters
# ---------------------------------------------------------------------------------------------


def simple_gate(x: Float[Array, "*b c"]) -> Float[Array, "*b d"]:
    """`a * b`, the two halves of the channels of `x`: d = c / 2.

    Reference: Chen et al. 2022, "Simple Baselines for Image Restoration", eq. 4.
    """
    a, b = jnp.split(x, 2, axis=-1)
    return a * b


def pixel_shuffle(x: Float[Array, "*b h w c"], r: int) -> Float[Array, "*b H W d"]:
    """Channels to pixels, `h w (r r d) -> (h r) (w r) d`; the inverse of `pixel_unshuffle`.

    Channel `(i r + j) d + n` goes to pixel (i, j) of its r x r cell, channel n: the order of
    TensorFlow's depth_to_space (PyTorch's pixel_shuffle has n slowest). One transpose of rank 5,
    the most that phone runtimes take.

    Reference: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution ...", eq. 4.
    """
    *b, h, w, c = x.shape
    if c % (r * r):
        raise ValueError(f"pixel_shuffle by {r} wants a multiple of {r * r} channels, got {c}.")
    cells = x.reshape(-1, h, w, r, c // r).swapaxes(2, 3)
    return cells.reshape(*b, h * r, w * r, c // (r * r))


def pixel_unshuffle(x: Float[Array, "*b H W d"], r: int) -> Float[Array, "*b h w c"]:
    """Pixels to channels, `(h r) (w r) d -> h w (r r d)`; the inverse of `pixel_shuffle`."""
    *b, h, w, c = x.shape
    if h % r or w % r:
        raise ValueError(f"pixel_unshuffle by {r} wants sides that {r} divides, got {h}x{w}; see pad_to_multiple.")
    cells = x.reshape(-1, h // r, r, w // r, r * c).swapaxes(2, 3)
    return cells.reshape(*b, h // r, w // r, r * r * c)


def pad_to_multiple(x: Float[Array, "*b h w c"], multiple: int) -> tuple[Float[Array, "*b H W c"], tuple[int, int]]:
    """`x` continued by its mirror image, edge repeated, until `multiple` divides both sides, and (h, w).

    Crop back with `out[..., :h, :w, :]`. Works at any size. Padding before a picture is enlarged and
    after it differ near the border: restorers pad first (`methods.regression.Sampled`).
    """
    h, w = x.shape[-3:-1]
    pad = [(0, 0)] * (x.ndim - 3) + [(0, -h % multiple), (0, -w % multiple), (0, 0)]
    return jnp.pad(x, pad, mode="symmetric"), (h, w)


# ---------------------------------------------------------------------------------------------
# With parameters: the same, as linen modules
# ---------------------------------------------------------------------------------------------


class DepthwiseConv(nn.Module):
    """`depthwise_conv` with a learned `kernel` (k, k, 1, c) and `bias` (c,)."""

    kernel_size: int = 3
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
        """The same size, the same channels."""
        k, c = self.kernel_size, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, 1, c))
        bias = self.param("bias", nn.initializers.zeros, (c,)) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = depthwise_conv(x, kernel)
        return y if bias is None else y + per_channel(bias, y)


class PointwiseConv(nn.Module):
    """`pointwise_conv` with a learned `kernel` (c_in, features) and `bias` (features,)."""

    features: int
    use_bias: bool = True
    kernel_init: Any = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "*b h w c"], scale: Float[Array, "*b 1 1 c"] | None = None
    ) -> Float[Array, "*b h w d"]:
        """The same size, `features` channels; of `scale x` if there is a `scale`."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        x, kernel, bias, scale = promote_dtype(x, kernel, bias, scale, dtype=self.dtype)
        return pointwise_conv(x, kernel, bias, scale)


class LayerNorm(nn.Module):
    """`layer_norm` with a learned `scale` (c,) and `bias` (c,)."""

    epsilon: float = 1e-6
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        """Every pixel to zero mean and unit variance over its channels, then scaled and shifted."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x, scale, bias = promote_dtype(x, scale, bias, dtype=self.dtype)
        return layer_norm(x, scale, bias, self.epsilon)
