"""JPEG as array arithmetic: what encoding a picture and decoding it again does to its pixels.

The bit stream itself is lossless, so it is left out; everything that loses information is here, as the
baseline codec of libjpeg does it: colour conversion, chroma subsampling, 8 x 8 DCT, quantisation, and back.
All of `hard` is 32-bit integer arithmetic with shifts, so that it gives the same pixels on every backend, under
`jit` and without, and the quality may be traced. Blocks are kept as `rows 8 8 cols` (block row, row and column
inside the block, block column): both passes of the DCT are then sums of slices, vectorised over the blocks' columns.

Reference: ITU-T T.81 (1992), Annexes A and K; Loeffler, Ligtenberg and Moschytz 1989, "Practical fast 1-D DCT
algorithms with 11 multiplications", for the factorisation whose constants are rounded; ITU-T T.871 (JFIF).
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, Shaped

from restore_jax.ops.color import rgb_to_ycbcr, ycbcr_to_rgb

SUBSAMPLINGS = ("4:4:4", "4:2:0")
ROUNDINGS = ("straight_through", "cubic")

# ITU-T T.81, tables K.1 (luma) and K.2 (chroma).
_LUMA = """
16  11  10  16  24  40  51  61
12  12  14  19  26  58  60  55
14  13  16  24  40  57  69  56
14  17  22  29  51  87  80  62
18  22  37  56  68 109 103  77
24  35  55  64  81 104 113  92
49  64  78  87 103 121 120 101
72  92  95  98 112 100 103  99
"""
_CHROMA = """
17  18  24  47  99  99  99  99
18  21  26  66  99  99  99  99
24  26  56  99  99  99  99  99
47  66  99  99  99  99  99  99
99  99  99  99  99  99  99  99
99  99  99  99  99  99  99  99
99  99  99  99  99  99  99  99
99  99  99  99  99  99  99  99
"""
_TABLES = np.array([_LUMA.split(), _CHROMA.split()], np.int32).reshape(2, 8, 8)


def quantisation_tables(quality: Shaped[Array, ""] | float) -> Int[Array, "2 8 8"]:
    """The tables of luma and chroma at `quality` 1 (worst) to 100, as libjpeg scales those of Annex K.

    `clip(floor((base scale + 50) / 100), 1, 255)` with `scale = floor(5000 / q)` below 50 and `200 - 2 q` from there;
    `q` is `quality` rounded to a whole number and brought into 1 .. 100.
    """
    q = jnp.clip(jnp.round(jnp.asarray(quality, float)), 1, 100).astype(jnp.int32)
    scale = jnp.where(q < 50, 5000 // q, 200 - 2 * q)
    return jnp.clip((jnp.asarray(_TABLES) * scale.reshape(1, 1, 1) + 50) // 100, 1, 255)


# ---------------------------------------------------------------------------------------------
# The transform
# ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _dct_matrix() -> np.ndarray:
    """`sqrt(8)` times the orthonormal DCT-II: row k is frequency k."""
    k, n = np.arange(8)[:, None], np.arange(8)[None]
    matrix = np.sqrt(2) * np.cos((2 * n + 1) * k * np.pi / 16)
    matrix[0] = 1.0
    return matrix


@lru_cache(maxsize=1)
def _integer_dct_matrix() -> np.ndarray:
    """`_dct_matrix` times 2^13 as its fast factorisation gives it when each of its constants is rounded.

    The sums behind the constants are exact, so that the flow graph is this one matrix. Its inverse pass is its
    transpose. With c_k = sqrt(2) cos(k pi / 16), a rotation takes 3 products, and the odd half takes 9.
    """
    c = np.sqrt(2) * np.cos(np.arange(8) * np.pi / 16)
    fix = lambda v: round(v * 2**13)  # noqa: E731
    # Frequencies 2 and 6 of the even half: a rotation by pi / 8 whose two outputs share one product.
    shared, second, sixth = fix(c[6]), fix(c[2] - c[6]), fix(c[2] + c[6])
    rotate = np.array([[shared + second, shared], [shared, shared - sixth]])  # rows 2, 6 of (t0 - t3, t1 - t2)
    # Frequencies 7, 5, 3, 1 of the odd half, of the differences d3, d2, d1, d0.
    own = [fix(v) for v in (-c[1] + c[3] + c[5] - c[7], c[1] + c[3] - c[5] + c[7],
                            c[1] + c[3] + c[5] - c[7], c[1] + c[3] - c[5] - c[7])]  # fmt: skip
    outer, inner = fix(c[7] - c[3]), fix(-c[1] - c[3])  # of d3 + d0, of d2 + d1
    even, odd, every = fix(-c[3] - c[5]), fix(c[5] - c[3]), fix(c[3])  # of d3 + d1, of d2 + d0, of all four
    pairs = np.array([
        [outer + even, 0, even, outer],
        [0, inner + odd, inner, odd],
        [even, inner, inner + even, 0],
        [outer, odd, 0, outer + odd],
    ])  # fmt: skip
    half = np.diag(own) + pairs + every
    matrix = np.zeros((8, 8), np.int64)
    matrix[0], matrix[4] = 2**13, 2**13 * np.array([1, -1, -1, 1, 1, -1, -1, 1])
    matrix[np.ix_([2, 6], [0, 1])] = rotate
    matrix[np.ix_([2, 6], [3, 2])] = -rotate
    matrix[np.ix_([2, 6], [4, 5, 6, 7])] = matrix[np.ix_([2, 6], [3, 2, 1, 0])]
    matrix[np.ix_([7, 5, 3, 1], [3, 2, 1, 0])] = half
    matrix[np.ix_([7, 5, 3, 1], [4, 5, 6, 7])] = -half
    return matrix.astype(np.int32)


def _passes(matrix: np.ndarray, blocks: Num[Array, "*b 8 8 n"], finish: Any) -> Num[Array, "*b 8 8 n"]:
    """`matrix` times each column of `blocks`, then times each row; `finish(pass, v)` follows each pass.

    Each pass sums eight slices and turns the block over. They are turns of a loop because XLA would otherwise
    fuse the first pass into the second, and compute it eight times.
    """
    shape = (1,) * (blocks.ndim - 3) + (8, 1, 1)
    columns = [jnp.asarray(matrix[:, i].reshape(shape), blocks.dtype) for i in range(8)]

    def turn(number: Int[Array, ""], v: Num[Array, "*b 8 8 n"]) -> Num[Array, "*b 8 8 n"]:
        terms = [column * v[..., i : i + 1, :, :] for i, column in enumerate(columns)]
        return jnp.swapaxes(finish(number, sum(terms[1:], terms[0])), -3, -2)

    return jax.lax.fori_loop(0, 2, turn, blocks)


def _descale(v: Int[Array, "..."], bits: Int[Array, ""] | int) -> Int[Array, "..."]:
    """`v / 2^bits` rounded, halves up."""
    bits = jnp.asarray(bits, v.dtype).reshape((1,) * v.ndim)
    return (v + (1 << (bits - 1))) >> bits


def _descales(first: int, second: int) -> Any:
    """A `finish` that rounds away other bits after either pass."""
    return lambda number, v: _descale(v, jnp.where(number == 0, first, second))


def forward_dct(samples: Int[Array, "*b 8 8 n"]) -> Int[Array, "*b 8 8 n"]:
    """8 times the orthonormal two-dimensional DCT-II of each block, in fixed point: rows, then columns.

    Two more bits are kept between the passes; |samples| < 512. Within 1 of the exact value.
    """
    turned = jnp.swapaxes(samples, -3, -2)
    return jnp.swapaxes(_passes(_integer_dct_matrix(), turned, _descales(11, 15)), -3, -2)


def inverse_dct(coefficients: Int[Array, "*b 8 8 n"]) -> Int[Array, "*b 8 8 n"]:
    """The samples of orthonormal `coefficients` (not times 8), in fixed point: columns, then rows."""
    return _passes(_integer_dct_matrix().T, coefficients, _descales(11, 18))


def to_blocks(plane: Shaped[Array, "*b h w"]) -> Shaped[Array, "*b p 8 8 q"]:
    """Blocks `[h / 8, row, column, w / 8]` of a plane whose sides are multiples of 8."""
    *b, h, w = plane.shape
    return jnp.swapaxes(plane.reshape(*b, h // 8, 8, w // 8, 8), -1, -2)


def from_blocks(blocks: Shaped[Array, "*b p 8 8 q"]) -> Shaped[Array, "*b h w"]:
    """The plane of `to_blocks`."""
    *b, p, _, _, q = blocks.shape
    return jnp.swapaxes(blocks, -1, -2).reshape(*b, 8 * p, 8 * q)


def pad_edge(plane: Shaped[Array, "*b h w"], row_multiple: int, column_multiple: int) -> Shaped[Array, "*b p q"]:
    """The plane with its last row and column repeated up to the next multiples."""
    *b, h, w = plane.shape
    return jnp.pad(plane, [(0, 0)] * len(b) + [(0, -h % row_multiple), (0, -w % column_multiple)], mode="edge")


# ---------------------------------------------------------------------------------------------
# Chroma
# ---------------------------------------------------------------------------------------------


def _quarters(plane: Num[Array, "*b h w"]) -> Num[Array, "*b p q"]:
    """The sum of each 2 x 2 square."""
    return plane[..., ::2, ::2] + plane[..., ::2, 1::2] + plane[..., 1::2, ::2] + plane[..., 1::2, 1::2]


def _quarter_points(plane: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """4 times the linear interpolation at the quarter points along `axis` (-1 or -2), where the ends are repeated."""
    n = plane.shape[axis]
    cut = lambda start, stop: jax.lax.slice_in_dim(plane, start, stop, axis=plane.ndim + axis)  # noqa: E731
    before = jnp.concatenate([cut(0, 1), cut(0, n - 1)], axis)
    after = jnp.concatenate([cut(1, n), cut(n - 1, n)], axis)
    shape = list(plane.shape)
    shape[axis] = 2 * n
    return jnp.stack([3 * plane + before, 3 * plane + after], plane.ndim + axis + 1).reshape(shape)


def _double(plane: Num[Array, "*b p q"]) -> Num[Array, "*b h w"]:
    return jnp.repeat(jnp.repeat(plane, 2, -2), 2, -1)


def subsample(plane: Int[Array, "*b h w"]) -> Int[Array, "*b p q"]:
    """Means of 2 x 2, rounded alternately down and up at halves, padded to whole blocks as libjpeg's encoder does.

    Columns are repeated before the means are taken and rows after, but for the one that makes their number even.
    """
    plane = pad_edge(plane, 2, 16)
    sums = _quarters(plane)
    bias = jnp.asarray(1 + np.arange(sums.shape[-1]) % 2, sums.dtype).reshape((1,) * (sums.ndim - 1) + (-1,))
    return pad_edge((sums + bias) >> 2, 8, 8)


def upsample(plane: Int[Array, "*b p q"], h: int, w: int) -> Int[Array, "*b h w"]:
    """Twice the size, by the triangle filter (9, 3, 3, 1) / 16 that libjpeg calls fancy; `h w` of it."""
    plane = plane[..., : -(-h // 2), : -(-w // 2)]
    if plane.shape[-1] <= 2:  # where libjpeg falls back on repetition
        return _double(plane)[..., :h, :w]
    wide = _quarter_points(_quarter_points(plane, -2), -1)
    bias = jnp.asarray(8 - np.arange(wide.shape[-1]) % 2, wide.dtype).reshape((1,) * (wide.ndim - 1) + (-1,))
    return ((wide + bias) >> 4)[..., :h, :w]


def _smooth_upsample(plane: Float[Array, "*b p q"], h: int, w: int) -> Float[Array, "*b h w"]:
    wide = _quarter_points(_quarter_points(plane, -2), -1) / 16 if plane.shape[-1] > 2 else _double(plane)
    return wide[..., :h, :w]


def low_pass_chroma(x: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
    """What 4:2:0 alone does to a picture: chroma averaged over 2 x 2 and interpolated back, unrounded; linear in x."""
    h, w, _ = x.shape
    planes = jnp.moveaxis(rgb_to_ycbcr(x), -1, 0)
    chroma = _quarters(pad_edge(planes[1:], 2, 2)) / 4
    wide = _smooth_upsample(chroma, h, w)
    return ycbcr_to_rgb(jnp.moveaxis(jnp.concatenate([planes[:1], wide]), 0, -1))


# ---------------------------------------------------------------------------------------------
# Colour, in 16-bit fixed point
# ---------------------------------------------------------------------------------------------


def _fixed(v: float) -> int:
    return round(v * 2**16)


def to_planes(rgb: Int[Array, "*b h w 3"]) -> tuple[Int[Array, "*b h w"], Int[Array, "*b 2 h w"]]:
    """Luma, and the two chroma planes centred at 128, of 8-bit RGB; halves of chroma go down."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = _descale(_fixed(0.299) * r + _fixed(0.587) * g + _fixed(0.114) * b, 16)
    offset = (128 << 16) + (1 << 15) - 1
    cb = (-_fixed(0.168735892) * r - _fixed(0.331264108) * g + (b << 15) + offset) >> 16
    cr = ((r << 15) - _fixed(0.418687589) * g - _fixed(0.081312411) * b + offset) >> 16
    return luma, jnp.stack([cb, cr], -3)


def from_planes(luma: Int[Array, "*b h w"], chroma: Int[Array, "*b 2 h w"]) -> Int[Array, "*b h w 3"]:
    """8-bit RGB of `to_planes`, clipped. The constants are T.871's, to as many digits as libjpeg keeps."""
    cb, cr = chroma[..., 0, :, :] - 128, chroma[..., 1, :, :] - 128
    r = luma + _descale(_fixed(1.402) * cr, 16)
    g = luma + _descale(-_fixed(0.34414) * cb - _fixed(0.71414) * cr, 16)
    b = luma + _descale(_fixed(1.772) * cb, 16)
    return jnp.clip(jnp.stack([r, g, b], -1), 0, 255)


# ---------------------------------------------------------------------------------------------
# The codec
# ---------------------------------------------------------------------------------------------


def _code(plane: Int[Array, "*b h w"], table: Int[Array, "8 8"]) -> Int[Array, "*b h w"]:
    """Encode and decode a plane of whole blocks."""
    blocks = to_blocks(plane) - 128
    step = table.reshape((1,) * (blocks.ndim - 3) + (8, 8, 1))
    scaled = forward_dct(blocks)
    # Integer division has no vector form. The half keeps the quotient of two integers away from the next one.
    level = jnp.floor((jnp.abs(scaled) + 4 * step + 0.5) / (8 * step).astype(jnp.float32)).astype(jnp.int32)
    decoded = inverse_dct(jnp.sign(scaled) * level * step)
    return jnp.clip(from_blocks(decoded) + 128, 0, 255)


def to_bytes(x: Float[Array, "..."]) -> Int[Array, "..."]:
    """`x` in [0, 1] as whole numbers 0 .. 255."""
    return jnp.clip(jnp.round(x * 255), 0, 255).astype(jnp.int32)


def hard(x: Float[Array, "h w c"], quality: Shaped[Array, ""] | float, subsampling: str) -> Float[Array, "h w c"]:
    """The decoded file: multiples of 1/255, as libjpeg's baseline encoder and default decoder give them; no gradient.

    `x` is rounded to 8 bits first.
    """
    h, w, c = x.shape
    pixels = to_bytes(x)
    tables = quantisation_tables(quality)
    if c == 1:
        y = _code(pad_edge(pixels[..., 0], 8, 8), tables[0])[:h, :w, None]
    else:
        luma, chroma = to_planes(pixels)
        luma = _code(pad_edge(luma, 8, 8), tables[0])[:h, :w]
        if subsampling == "4:2:0":
            chroma = upsample(_code(subsample(chroma), tables[1]), h, w)
        else:
            chroma = _code(pad_edge(chroma, 8, 8), tables[1])[:, :h, :w]
        y = from_planes(luma, chroma)
    return y.astype(x.dtype) / 255


def _cubic_round(u: Float[Array, "..."]) -> Float[Array, "..."]:
    whole = jnp.round(u)
    return whole + (u - whole) ** 3


def _smooth_code(plane: Float[Array, "*b h w"], table: Int[Array, "8 8"]) -> Float[Array, "*b h w"]:
    blocks = to_blocks(plane)
    step = table.astype(plane.dtype).reshape((1,) * (blocks.ndim - 3) + (8, 8, 1))
    matrix, unchanged = _dct_matrix() / np.sqrt(8), lambda number, v: v
    return from_blocks(_passes(matrix.T, _cubic_round(_passes(matrix, blocks, unchanged) / step) * step, unchanged))


def _smooth(x: Float[Array, "h w c"], quality: Shaped[Array, ""] | float, subsampling: str) -> Float[Array, "h w c"]:
    """`hard` without its roundings, but for that of the coefficients, which is cubic."""
    h, w, c = x.shape
    tables = quantisation_tables(quality)
    planes = 255 * jnp.moveaxis(rgb_to_ycbcr(x) if c == 3 else x, -1, 0) - 128
    planes, chroma = _smooth_code(pad_edge(planes[:1], 8, 8), tables[0])[:, :h, :w], planes[1:]
    if c == 3:
        if subsampling == "4:2:0":
            chroma = pad_edge(_quarters(pad_edge(chroma, 2, 16)) / 4, 8, 8)
            chroma = _smooth_code(chroma, tables[1])[:, : -(-h // 2), : -(-w // 2)]
            chroma = _smooth_upsample(chroma, h, w)
        else:
            chroma = _smooth_code(pad_edge(chroma, 8, 8), tables[1])[:, :h, :w]
        planes = jnp.concatenate([planes, chroma])
    y = jnp.moveaxis(planes + 128, 0, -1) / 255
    return jnp.clip(ycbcr_to_rgb(y) if c == 3 else y, 0, 1)


@jax.custom_jvp
def straight_through(value: Float[Array, "..."], through: Float[Array, "..."]) -> Float[Array, "..."]:
    """`value`, with the gradient of `through`: exactly so, where `through + stop_gradient(value - through)` rounds."""
    return value


@straight_through.defjvp
def _straight_through_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    return primals[0], tangents[1]


@partial(jax.jit, static_argnames=("subsampling", "rounding"))  # a hundred small operations: slow one by one
def jpeg(
    x: Float[Array, "h w c"],
    quality: Shaped[Array, ""] | float,
    subsampling: str = "4:2:0",
    rounding: str = "straight_through",
) -> Float[Array, "h w c"]:
    """A picture in [0, 1] after JPEG at `quality` 1 (worst) to 100; it may be traced, and is rounded to a whole number.

    `rounding="straight_through"` gives the pixels of `hard`, and the gradient that the codec would have if nothing
    were rounded or clipped: the identity at 4:4:4, `low_pass_chroma` at 4:2:0. `rounding="cubic"` rounds the
    quotient u of a coefficient to `[u] + (u - [u])^3` and nothing else: other pixels, but a gradient that knows which
    coefficients were lost. Neither has a gradient with respect to `quality`. One channel is coded as luma.

    Cost: 32 multiply-adds a pixel and plane in the two transforms.

    Raises:
        ValueError: x has neither 1 nor 3 channels; an unknown subsampling or rounding.

    Reference: Shin and Song 2017, "JPEG-resistant adversarial images", for the cubic rounding.
    """
    if x.shape[-1] not in (1, 3):
        raise ValueError(f"JPEG takes pictures of 1 or 3 channels, not {x.shape[-1]} (x is {x.shape}).")
    if subsampling not in SUBSAMPLINGS:
        raise ValueError(f"subsampling is one of {SUBSAMPLINGS}, not {subsampling!r}.")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding is one of {ROUNDINGS}, not {rounding!r}.")
    if rounding == "cubic":
        return _smooth(x, quality, subsampling)
    wide = subsampling == "4:4:4" or x.shape[-1] == 1
    return straight_through(hard(jax.lax.stop_gradient(x), quality, subsampling), x if wide else low_pass_chroma(x))
