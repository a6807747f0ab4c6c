"""Convolution by the Fourier transform, with a choice of what lies beyond the border.

    y[i, j] = sum_ab kernel[a, b] x[i - (a - p // 2), j - (b - q // 2)]

is a true convolution: the kernel is what one bright pixel becomes. (Networks' "convolution" is the correlation with
the kernel turned by half a turn.) Kernels `[p, q]` of odd sizes are centred; of an even size the pixel after the
middle is the centre.
"""

from functools import lru_cache

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

# What lies beyond the border, in the words of numpy.pad; `circular` needs no padding.
_PAD_MODES = {"reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "zero": "constant"}

BOUNDARIES = ("circular", *_PAD_MODES)


@lru_cache(maxsize=1024)
def fast_length(n: int) -> int:
    """The least number `2^a 3^b 5^c` that is `n` or more: a length at which transforms are fast."""
    best = 1 << max(n - 1, 0).bit_length()
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            length = threes
            while length < n:
                length *= 2
            best = min(best, length)
            threes *= 3
        fives *= 5
    return best


def otf(kernel: Float[Array, "p q"], h: int, w: int) -> Complex[Array, "h f"]:
    """The optical transfer function of a kernel: its `rfft2` on an `h x w` torus, its centre at (0, 0).

    Raises:
        ValueError: the kernel is larger than `h x w`.
    """
    p, q = kernel.shape
    if p > h or q > w:
        raise ValueError(f"A kernel of {p} x {q} pixels does not fit into {h} x {w}.")
    field = jnp.pad(kernel, ((0, h - p), (0, w - q)))
    return jnp.fft.rfft2(jnp.roll(field, (-(p // 2), -(q // 2)), (0, 1)))


def filter_circular(
    x: Float[Array, "*b h w c"], transfer: Complex[Array, "h f"] | Float[Array, "h f"]
) -> Float[Array, "*b h w c"]:
    """`irfft2(transfer rfft2(x))`, channel by channel; `f = w // 2 + 1`. Cost: two transforms, O(h w c log(h w))."""
    h, w = x.shape[-3:-1]
    gain = transfer.reshape((1,) * (x.ndim - 3) + transfer.shape + (1,))
    return jnp.fft.irfft2(jnp.fft.rfft2(x, axes=(-3, -2)) * gain, s=(h, w), axes=(-3, -2))


def convolve_circular(x: Float[Array, "*b h w c"], kernel: Float[Array, "p q"]) -> Float[Array, "*b h w c"]:
    """`kernel * x` on a torus: what leaves the picture on one side enters it on the other."""
    return filter_circular(x, otf(kernel, *x.shape[-3:-1]))


def convolve(
    x: Float[Array, "*b h w c"], kernel: Float[Array, "p q"], boundary: str = "reflect"
) -> Float[Array, "*b h w c"]:
    """`kernel * x`, at the size of x.

    Beyond the border lies, for a row `a b c d`,

        circular    c d | a b c d | a b
        reflect     c b | a b c d | c b    mirrored, the edge not repeated
        symmetric   b a | a b c d | d c    mirrored, the edge repeated
        replicate   a a | a b c d | d d
        zero        0 0 | a b c d | 0 0

    Cost: two transforms of the padded picture, whose sides are rounded up to products of 2, 3 and 5.

    Raises:
        ValueError: an unknown boundary, or a kernel larger than the picture.
    """
    (h, w), (p, q) = x.shape[-3:-1], kernel.shape
    if boundary not in BOUNDARIES:
        raise ValueError(f"The boundary must be one of {', '.join(BOUNDARIES)}, not {boundary!r}.")
    if p > h or q > w:
        raise ValueError(f"A kernel of {p} x {q} pixels is larger than the picture, {h} x {w}.")
    if boundary == "circular":
        return convolve_circular(x, kernel)
    # y[i] reads x from i - (p - 1 - p // 2) to i + p // 2.
    top, left = p - 1 - p // 2, q - 1 - q // 2
    batch = ((0, 0),) * (x.ndim - 3)
    if boundary != "zero":
        x = jnp.pad(x, (*batch, (top, p // 2), (left, q // 2), (0, 0)), _PAD_MODES[boundary])
        offset = (top, left)
    else:
        offset = (0, 0)  # the zeros below and on the right, brought round by the torus, serve both sides
    rows, cols = fast_length(h + p - 1), fast_length(w + q - 1)
    x = jnp.pad(x, (*batch, (0, rows - x.shape[-3]), (0, cols - x.shape[-2]), (0, 0)))
    y = convolve_circular(x, kernel)
    return y[..., offset[0] : offset[0] + h, offset[1] : offset[1] + w, :]
