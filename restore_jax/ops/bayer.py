"""The Bayer mosaic: one colour a pixel, and the two others guessed back.

A pattern is read row by row from the top left corner: "rggb" is `R G` over `G B`. Border pixels see
the picture mirrored without its edge, which keeps the colours of the mosaic in step.

Reference: Malvar, He & Cutler 2004, "High-quality linear interpolation for demosaicing of
Bayer-patterned color images", figure 2.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PATTERNS = ("rggb", "bggr", "grbg", "gbrg")

# The four kinds of site, in the order of the packed planes.
_RED, _GREEN_BY_RED, _GREEN_BY_BLUE, _BLUE = range(4)


def check_pattern(pattern: str, name: str = "pattern") -> None:
    """Raises ValueError, naming the field, unless `pattern` is one of the four."""
    if pattern not in PATTERNS:
        raise ValueError(f"{name} must be one of {', '.join(PATTERNS)}, not {pattern!r}.")


def _tile(pattern: str) -> np.ndarray:
    """The kind of each of the four sites of a 2 x 2 tile."""
    check_pattern(pattern)
    rows = (pattern[:2], pattern[2:])
    green = [_GREEN_BY_RED if "r" in row else _GREEN_BY_BLUE for row in rows]
    return np.array([[{"r": _RED, "g": green[i], "b": _BLUE}[c] for c in row] for i, row in enumerate(rows)])


def _sites(h: int, w: int, pattern: str) -> np.ndarray:
    return np.tile(_tile(pattern), (-(-h // 2), -(-w // 2)))[:h, :w]


def mosaic_mask(h: int, w: int, pattern: str = "rggb") -> Float[np.ndarray, "h w 3"]:
    """1 where the sensor sees the colour, else 0; the three channels sum to 1 at every pixel."""
    sites = _sites(h, w, pattern)
    green = (sites == _GREEN_BY_RED) | (sites == _GREEN_BY_BLUE)
    return np.stack([sites == _RED, green, sites == _BLUE], axis=-1).astype(np.float64)


def _mask(x: Array, pattern: str) -> Array:
    mask = jnp.asarray(mosaic_mask(x.shape[-3], x.shape[-2], pattern), x.dtype)
    return mask.reshape((1,) * (x.ndim - 3) + mask.shape)


def mosaic(x: Float[Array, "*b h w 3"], pattern: str = "rggb") -> Float[Array, "*b h w 1"]:
    """What the sensor sees: at each pixel the one channel of its filter. Linear; any size."""
    return jnp.sum(x * _mask(x, pattern), axis=-1, keepdims=True)


def unmosaic(raw: Float[Array, "*b h w 1"], pattern: str = "rggb") -> Float[Array, "*b h w 3"]:
    """The transpose of `mosaic`: each value in the channel it was seen in, 0 in the two others."""
    return raw * _mask(raw, pattern)


def _cross(near: float, far_rows: float, far_cols: float, diagonal: float, centre: float, sides: str) -> np.ndarray:
    """A symmetric 5 x 5 filter, in eighths; `near` stands above and below ("v"), left and right ("h") or both."""
    f = np.zeros((5, 5))
    f[2, 2] = centre
    f[[0, 4], 2], f[2, [0, 4]] = far_rows, far_cols
    f[[1, 1, 3, 3], [1, 3, 1, 3]] = diagonal
    if "v" in sides:
        f[[1, 3], 2] = near
    if "h" in sides:
        f[2, [1, 3]] = near
    return f / 8


# What estimates a channel from neighbours of that colour: above, below, left and right (green); left and
# right; above and below; at the four corners.
_BILINEAR = (
    _cross(2.0, 0.0, 0.0, 0.0, 0.0, "hv"),
    _cross(4.0, 0.0, 0.0, 0.0, 0.0, "h"),
    _cross(4.0, 0.0, 0.0, 0.0, 0.0, "v"),
    _cross(0.0, 0.0, 0.0, 2.0, 0.0, ""),
)
_MALVAR = (
    _cross(2.0, -1.0, -1.0, 0.0, 4.0, "hv"),
    _cross(4.0, 0.5, -1.0, -1.0, 5.0, "h"),
    _cross(4.0, -1.0, 0.5, -1.0, 5.0, "v"),
    _cross(0.0, -1.5, -1.5, 2.0, 6.0, ""),
)


def _interpolate(raw: Array, pattern: str, filters: tuple[np.ndarray, ...]) -> Array:
    h, w = raw.shape[-3:-1]
    if min(h, w) < 3:
        raise ValueError(f"raw must be at least 3 x 3 pixels to be demosaiced, not {h} x {w}.")
    wide = jnp.pad(raw, [(0, 0)] * (raw.ndim - 3) + [(2, 2), (2, 2), (0, 0)], mode="reflect")

    def filtered(kernel: np.ndarray) -> Array:
        taps = zip(*np.nonzero(kernel), strict=True)
        terms = (float(kernel[i, j]) * wide[..., i : i + h, j : j + w, :] for i, j in taps)
        return sum(terms, jnp.zeros_like(raw))

    around, beside, above, corners = map(filtered, filters)
    sites = _sites(h, w, pattern).reshape((1,) * (raw.ndim - 3) + (h, w, 1))

    def channel(own: int, opposite: int, in_own_row: int) -> Array:
        estimate = jnp.where(sites == in_own_row, beside, above)
        return jnp.where(sites == own, raw, jnp.where(sites == opposite, corners, estimate))

    red = channel(_RED, _BLUE, _GREEN_BY_RED)
    green = jnp.where((sites == _RED) | (sites == _BLUE), around, raw)
    blue = channel(_BLUE, _RED, _GREEN_BY_BLUE)
    return jnp.concatenate([red, green, blue], axis=-1)


def demosaic_bilinear(raw: Float[Array, "*b h w 1"], pattern: str = "rggb") -> Float[Array, "*b h w 3"]:
    """Each missing colour is the mean of the two or four nearest pixels of that colour.

    Raises:
        ValueError: a side below 3 pixels.
    """
    return _interpolate(raw, pattern, _BILINEAR)


def demosaic(raw: Float[Array, "*b h w 1"], pattern: str = "rggb") -> Float[Array, "*b h w 3"]:
    """The bilinear guess, corrected by the Laplacian of the colour that was seen: 13 taps at most, linear.

    A constant of each colour is kept; where the three colours differ by constants, so is any plane.

    Raises:
        ValueError: a side below 3 pixels.

    Reference: Malvar, He & Cutler 2004, figure 2.
    """
    return _interpolate(raw, pattern, _MALVAR)


def pack(raw: Float[Array, "*b h w 1"], pattern: str = "rggb") -> Float[Array, "*b p q 4"]:
    """The four half-size planes: red, green beside red, green beside blue, blue, whatever the pattern.

    Raises:
        ValueError: an odd side.
    """
    h, w = raw.shape[-3:-1]
    if h % 2 or w % 2:
        raise ValueError(f"raw must have even sides to be packed, not {h} x {w}: crop it first.")
    tiles = raw.reshape(*raw.shape[:-3], h // 2, 2, w // 2, 2)
    planes = jnp.moveaxis(tiles, -3, -2).reshape(*raw.shape[:-3], h // 2, w // 2, 4)
    return planes[..., np.argsort(_tile(pattern).ravel())]


def unpack(planes: Float[Array, "*b h w 4"], pattern: str = "rggb") -> Float[Array, "*b p q 1"]:
    """The inverse of `pack`."""
    *b, h, w, _ = planes.shape
    tiles = planes[..., _tile(pattern).ravel()].reshape(*b, h, w, 2, 2)
    return jnp.moveaxis(tiles, -2, -3).reshape(*b, 2 * h, 2 * w, 1)
