"""A photograph that is restored and keeps what it was: `open_photo`, `photo.x`, `photo.restored(x_hat)`, `save_photo`.

    photo = open_photo("holiday.tif")           any format, depth and mode; upright
    x_hat = restorer(photo.x)                   float32 sRGB in [0, 1]
    save_photo("out.tif", photo.restored(x_hat))    its own colours, depth, alpha, profile, EXIF, XMP

What the restorer leaves alone comes back bit for bit. What sRGB cannot hold (colours outside its gamut, highlights
above white, the share of black ink) goes beside the restorer and is added to what it gives back.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from restore_jax import __version__
from restore_jax.photo.colour import Colours, colours
from restore_jax.photo.decode import decode
from restore_jax.photo.encode import SUFFIXES, row_file, save
from restore_jax.photo.samples import PhotoWarning, Samples, to_levels, to_unit
from restore_jax.photo.scaling import Scaling

SOFTWARE = f"restore_jax {__version__}"
BAND = 256  # rows at a time: floats of a whole photograph are four times its bytes

__all__ = ["SUFFIXES", "BandWriter", "Photo", "PhotoWarning", "Sink", "bands", "open_photo", "save_photo"]


@dataclass(frozen=True, eq=False)
class Photo(Samples):
    """What a file holds, ready for a restorer and for a faithful way back; made by `open_photo`."""

    @property
    def colours(self) -> Colours:
        """How its samples become sRGB and back."""
        return colours(self.mode, self.icc, self.name)

    @property
    def x(self) -> Float32[np.ndarray, "h w 3"]:
        """What a restorer is given: sRGB in [0, 1], grey three times."""
        x = np.empty((self.height, self.width, 3), np.float32)
        for top in range(0, self.height, BAND):
            x[top : top + BAND] = self.rows(top, min(top + BAND, self.height))
        return x

    def rows(self, top: int, bottom: int) -> Float32[np.ndarray, "n w 3"]:
        """The rows `x[top:bottom]` alone."""
        x = self.colours.to_srgb(to_unit(self.pixels[top:bottom]))
        return x if self.colours.exact and self.depth != 32 else np.clip(x, 0, 1)

    def sink(self, height: int, width: int) -> "Sink":
        """Takes restored rows from the top, of a picture of this size, and becomes the restored photograph."""
        return Sink(self, height, width)

    def restored(self, x_hat: Float[np.ndarray, "H W 3"]) -> "Photo":
        """The same photograph with other pixels, of any size.

        `pixels_hat = from_srgb(x_hat) + enlarged(pixels - from_srgb(x))`, and `pixels` itself where `x_hat == x`.

        Raises:
            ValueError: `x_hat` holds NaN or infinity.
        """
        sink = self.sink(*x_hat.shape[:2])
        for top in range(0, len(x_hat), BAND):
            sink.write(x_hat[top : top + BAND])
        return sink.photo()


class Sink:
    """Restored rows become a photograph's own samples, from the top; nothing but the result is held."""

    def __init__(self, source: Photo, height: int, width: int) -> None:
        self.source, self.top = source, 0
        self.scaling = Scaling(source.height, source.width, height, width)
        self.pixels = np.empty((height, width, source.pixels.shape[-1]), source.pixels.dtype)
        self.alpha = None if source.alpha is None else np.empty((height, width), source.alpha.dtype)

    def write(self, x_hat: Float[np.ndarray, "n W 3"]) -> None:
        """The next rows.

        Raises:
            ValueError: too many, of another width, or NaN or infinity among them.
        """
        _next(self, x_hat)
        rows = slice(self.top, self.top + len(x_hat))
        self.pixels[rows], alpha = own_rows(self.source, self.scaling, self.top, x_hat)
        if self.alpha is not None:
            self.alpha[rows] = alpha
        self.top += len(x_hat)

    def photo(self) -> Photo:
        """The restored photograph.

        Raises:
            ValueError: rows are missing.
        """
        _complete(self)
        return replace(self.source, pixels=self.pixels, alpha=self.alpha)


class BandWriter:
    """Restored rows go into a PNG, TIFF or DNG: `with BandWriter(path, size, like) as out: out.write(rows)`.

    Memory is that of a band. The file appears, whole, when the block ends; after an error nothing is left of it.
    A thumbnail in EXIF is taken out, since its pixels are not known when EXIF is written.

    Args:
        path: ends in .png, .tif, .tiff or .dng.
        size: height and width of the restored photograph.
        like: the photograph that is restored.
        strip_gps, strip_all, software: as in `save_photo`.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        like: Photo,
        *,
        strip_gps: bool = False,
        strip_all: bool = False,
        software: str = SOFTWARE,
    ) -> None:
        self.source, self.top, self.path = like, 0, Path(path)
        self.scaling = Scaling(like.height, like.width, *size)
        self.options = {"strip_gps": strip_gps, "strip_all": strip_all, "software": software}
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "BandWriter":
        self.file = self.stack.enter_context(
            row_file(self.path, self.scaling.height, self.scaling.width, self.source, **self.options)
        )
        return self

    def write(self, x_hat: Float[np.ndarray, "n W 3"]) -> None:
        """The next rows.

        Raises:
            ValueError: too many, of another width, or NaN or infinity among them.
        """
        _next(self, x_hat)
        pixels, alpha = own_rows(self.source, self.scaling, self.top, x_hat)
        self.file.write(pixels, alpha)
        self.top += len(x_hat)

    def __exit__(self, kind, error, trace) -> bool | None:
        if kind is None:
            try:
                _complete(self)
            except ValueError as incomplete:
                self.stack.__exit__(ValueError, incomplete, None)
                raise
        return self.stack.__exit__(kind, error, trace)


def open_photo(path: str | Path | bytes, name: str = "") -> Photo:
    """The photograph in a file, given by its path or its bytes; errors call it `name`, or else by its path.

    Raises:
        PhotoError: missing, empty, truncated, damaged, not a photograph, or too large to be honest; one line.
        ImportError: HEIC without pillow-heif, raw without rawpy.
    """
    return Photo(**vars(decode(path, name)))


def save_photo(
    path: str | Path,
    photo: Samples,
    *,
    strip_gps: bool = False,
    strip_all: bool = False,
    quality: int = 95,
    software: str = SOFTWARE,
) -> None:
    """Writes a photograph as the suffix of `path` says, whole or not at all.

    Where the format cannot hold its mode it becomes sRGB; a depth that it cannot hold is rounded to the next lower one;
    alpha that it cannot hold is laid over white with a warning. PNG, TIFF and WebP are lossless; `quality` (1 to 100)
    is for JPEG (4:4:4), AVIF and HEIC. `strip_gps` takes the place out of EXIF and XMP, `strip_all` everything but the
    profile. `software` is stated in EXIF; "" states nothing.

    Raises:
        ValueError: an unknown suffix, or more pixels than the format holds.
        OSError: the folder is missing, the disk is full, or permission is denied.
    """
    save(path, photo, strip_gps=strip_gps, strip_all=strip_all, quality=quality, software=software)


def bands(path: str | Path, rows: int) -> Iterator[Float32[np.ndarray, "n w 3"]]:
    """The photograph in bands of float32 sRGB. The samples are held as the file has them, a quarter of that.

    Raises:
        PhotoError: as `open_photo`.
        ValueError: `rows` is less than 1.
    """
    if rows < 1:
        raise ValueError(f"bands.rows is at least 1, not {rows}.")
    photo = open_photo(path)
    for top in range(0, photo.height, rows):
        yield photo.rows(top, min(top + rows, photo.height))


def own_rows(
    source: Photo, scaling: Scaling, top: int, x_hat: Float[np.ndarray, "n W 3"]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of restored sRGB as the photograph's own samples, and the alpha beside them.

    Raises:
        ValueError: NaN or infinity.
    """
    x_hat, bottom = np.asarray(x_hat, np.float32), top + len(x_hat)
    if not np.isfinite(x_hat).all():
        raise ValueError(f"{source.name}: the restored rows {top} to {bottom} hold NaN or infinity.")
    space, (first, last) = source.colours, scaling.needed(top, bottom)
    out = space.from_srgb(np.clip(x_hat, 0, 1))
    rounding_only = space.exact and source.depth != 32
    if not rounding_only:  # what the restorer is not shown
        beside = to_unit(source.pixels[first:last]) - space.from_srgb(source.rows(first, last))
        if beside.any():
            out = out + scaling.rows(beside, top, bottom)
    levels = to_levels(out, source.depth)
    if scaling.same and not rounding_only:
        kept = np.all(x_hat == source.rows(top, bottom), axis=-1, keepdims=True)
        levels = np.where(kept, source.pixels[top:bottom], levels)
    if source.alpha is None or scaling.same:
        return levels, None if source.alpha is None else source.alpha[top:bottom]
    alpha = scaling.rows(to_unit(source.alpha[first:last, :, None]), top, bottom)[..., 0]
    return levels, to_levels(np.clip(alpha, 0, 1), source.depth)


def _next(taker: "Sink | BandWriter", x_hat: np.ndarray) -> None:
    left, width = taker.scaling.height - taker.top, taker.scaling.width
    if len(x_hat) > left or x_hat.shape[1] != width:
        raise ValueError(
            f"{type(taker).__name__}.write: {taker.source.name} has {left} rows of {width} pixels left, not "
            f"{len(x_hat)} of {x_hat.shape[1]}."
        )


def _complete(taker: "Sink | BandWriter") -> None:
    if taker.top != taker.scaling.height:
        raise ValueError(
            f"{type(taker).__name__}: {taker.source.name} lacks {taker.scaling.height - taker.top} of "
            f"{taker.scaling.height} rows."
        )
