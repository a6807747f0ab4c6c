"""`Samples` as files of every kind: `save(path, samples)`, and `row_file` for those that are written by rows."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from restore_jax.photo import dng, gain_map, tiff, xmp
from restore_jax.photo import exif as exif_block
from restore_jax.photo.colour import colours
from restore_jax.photo.png import PngRows
from restore_jax.photo.samples import PhotoWarning, Samples, to_levels, to_unit
from restore_jax.photo.tiff_file import TiffRows
from restore_jax.photo.write import whole_file

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".dng": "DNG",
}
MODES = {"JPEG": ("L", "RGB", "CMYK"), "PNG": ("L", "RGB"), "TIFF": ("L", "RGB", "CMYK", "LAB")}  # others: RGB
DEPTHS = {"PNG": (8, 16), "TIFF": (8, 16, 32), "DNG": (16,)}  # others: 8
BY_ROWS = ("PNG", "TIFF", "DNG")
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65536, "HEIC": 65536}
MAX_SEGMENT = 65533 - len(exif_block.PREFIX)
MAX_XMP = 65533 - 29
THUMBNAIL_SIDE = 160
BAND = 256


def kind_of(path: str | Path) -> str:
    """The format that a path's suffix asks for.

    Raises:
        ValueError: none, or one that is not written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: cannot write {suffix or 'without a suffix'}; use {', '.join(SUFFIXES)}.")
    return SUFFIXES[suffix]


def save(
    path: str | Path,
    samples: Samples,
    *,
    strip_gps: bool = False,
    strip_all: bool = False,
    quality: int = 95,
    software: str = "",
) -> None:
    """As `photo.save_photo`.

    Raises:
        ValueError: an unknown suffix, a quality outside 1 to 100, or more pixels than the format holds.
        OSError: the folder is missing, the disk is full, or permission is denied.
    """
    kind = kind_of(path)
    if not 1 <= quality <= 100:
        raise ValueError(f"save.quality is 1 to 100, not {quality}.")
    options = {"strip_gps": strip_gps, "strip_all": strip_all, "software": software}
    if kind in BY_ROWS:
        with row_file(path, samples.height, samples.width, samples, thumbnail=True, **options) as out:
            for top in range(0, samples.height, BAND):
                rows = slice(top, top + BAND)
                out.write(samples.pixels[rows], None if samples.alpha is None else samples.alpha[rows])
        return
    ready = with_metadata(fitted(samples, kind, str(path)), kind, samples.height, samples.width, True, **options)
    if max(ready.height, ready.width) > MAX_SIDE[kind]:
        raise ValueError(
            f"{path}: {kind} holds {MAX_SIDE[kind]} pixels a side, not {ready.width} x {ready.height}; save it as PNG."
        )
    try:
        data = _compressed(ready, kind, quality)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be written as {kind} ({' '.join(str(error).split())}).") from error
    with whole_file(path) as file:
        file.write(data)


class Rows:
    """Takes rows in the mode, depth and colours of a photograph, for `row_file`."""

    def __init__(self, like: Samples, kind: str, path: str, out: PngRows | TiffRows) -> None:
        self.like, self.kind, self.path, self.out = like, kind, path, out

    def write(self, pixels: np.ndarray, alpha: np.ndarray | None) -> None:
        """The next rows."""
        rows = fitted(replace(self.like, pixels=pixels, alpha=alpha), self.kind, self.path, say=False)
        self.out.write(rows.pixels, rows.alpha)


@contextlib.contextmanager
def row_file(
    path: str | Path,
    height: int,
    width: int,
    like: Samples,
    *,
    thumbnail: bool = False,
    strip_gps: bool = False,
    strip_all: bool = False,
    software: str = "",
) -> Iterator[Rows]:
    """A PNG, TIFF or DNG written from the top; it appears when the block ends without an error.

    Raises:
        ValueError: a suffix of another kind, or more pixels than the format holds.
        OSError: the folder is missing, the disk is full, or permission is denied.
    """
    kind, options = kind_of(path), {"strip_gps": strip_gps, "strip_all": strip_all, "software": software}
    if kind not in BY_ROWS:
        raise ValueError(f"{path}: {kind} is not written by rows; use .png, .tif or .dng.")
    first = None if like.alpha is None else like.alpha[:1]
    head = fitted(replace(like, pixels=like.pixels[:1], alpha=first), kind, str(path))
    said = with_metadata(like, kind, height, width, thumbnail, **options)
    head = replace(head, exif=said.exif, xmp=said.xmp, extras=said.extras, name=str(path))
    with whole_file(path) as file:
        if kind == "PNG":
            out: PngRows | TiffRows = PngRows(file, height, width, head)
        else:
            order = tiff.byte_order(head.exif) if head.exif else "<"
            more = dng.fields(order, "restore_jax linear sRGB") if kind == "DNG" else {}
            out = TiffRows(file, height, width, head, more, plain=kind == "DNG")
        yield Rows(like, kind, str(path), out)
        out.close()


def fitted(samples: Samples, kind: str, path: str, say: bool = True) -> Samples:
    """The samples in a mode and depth that the format holds; unchanged where it holds theirs."""
    modes, depths = MODES.get(kind, ("RGB",)), DEPTHS.get(kind, (8,))
    if samples.alpha is not None and kind in ("JPEG", "DNG"):
        if say:
            warnings.warn(f"{path}: {kind} holds no alpha; the picture is laid over white.", PhotoWarning, stacklevel=5)
        samples = _over_white(samples)
    if samples.mode not in modes or kind == "DNG":
        own = colours(samples.mode, samples.icc, samples.name)
        if own.exact and samples.mode == "L" and kind != "DNG":
            samples = replace(samples, pixels=np.repeat(samples.pixels, 3, -1), mode="RGB", icc=None)
        else:
            x = np.clip(own.to_srgb(to_unit(samples.pixels)), 0, 1)
            depth = 8 if samples.depth == 8 else 16
            alpha = None if samples.alpha is None else to_levels(to_unit(samples.alpha), depth)
            levels = dng.linear(x) if kind == "DNG" else to_levels(x, depth)
            depth = 16 if kind == "DNG" else depth
            samples = replace(samples, pixels=levels, alpha=alpha, depth=depth, mode="RGB", icc=None)
    if samples.depth not in depths:
        depth = max(d for d in depths if d < samples.depth)
        alpha = None if samples.alpha is None else to_levels(to_unit(samples.alpha), depth)
        samples = replace(samples, pixels=to_levels(to_unit(samples.pixels), depth), alpha=alpha, depth=depth)
    return samples


def _over_white(samples: Samples) -> Samples:
    if samples.alpha is None:
        return samples
    alpha, values = to_unit(samples.alpha)[..., None], to_unit(samples.pixels)
    white = np.float32(0 if samples.mode == "CMYK" else 1)
    over = values if samples.extras.get("premultiplied") else values * alpha
    return replace(samples, pixels=to_levels(over + white * (1 - alpha), samples.depth), alpha=None)


def with_metadata(
    samples: Samples,
    kind: str,
    height: int,
    width: int,
    thumbnail: bool,
    *,
    strip_gps: bool,
    strip_all: bool,
    software: str,
) -> Samples:
    """The samples with EXIF, XMP and extras as they shall stand in a file of this kind and size."""
    if strip_all:
        extras = {key: value for key, value in samples.extras.items() if key == "premultiplied"}
        return replace(samples, exif=None, xmp=None, extras=extras)
    block, packet, extras = samples.exif, samples.xmp, dict(samples.extras)
    if block is not None:
        small = _thumbnail(samples) if thumbnail and kind in ("JPEG", "PNG", "WEBP", "AVIF", "HEIC") else b""
        options = {"software": software, "strip_gps": strip_gps, "oriented": kind != "AVIF"}
        whole = exif_block.edited(block, height, width, thumbnail=small, **options)
        if kind == "JPEG" and len(whole) > MAX_SEGMENT:
            whole = exif_block.edited(block, height, width, **options)
        block = whole
    elif software:
        block = exif_block.created(software)
    if packet is not None:
        packet = xmp.edited(packet, height, width, strip_gps=strip_gps)
    for what, data, most in (("EXIF", block, MAX_SEGMENT), ("XMP", packet, MAX_XMP)):
        if kind == "JPEG" and data is not None and len(data) > most:
            warnings.warn(f"{samples.name}: {what} is too long for JPEG and left out.", PhotoWarning, stacklevel=5)
            block, packet = (None, packet) if what == "EXIF" else (block, None)
    if kind != "JPEG" and extras.pop("gain_map", None) is not None:
        warnings.warn(f"{samples.name}: {kind} holds no HDR gain map; left out.", PhotoWarning, stacklevel=5)
    return replace(samples, exif=block, xmp=packet, extras=extras)


def _thumbnail(samples: Samples) -> bytes:
    if samples.exif is None or not tiff.directory(samples.exif, tiff.first(samples.exif)).following:
        return b""
    step = max(1, max(samples.height, samples.width) // (2 * THUMBNAIL_SIDE))
    small = _over_white(
        replace(
            samples,
            pixels=np.ascontiguousarray(samples.pixels[::step, ::step]),
            alpha=None if samples.alpha is None else np.ascontiguousarray(samples.alpha[::step, ::step]),
        )
    )
    x = colours(small.mode, small.icc, small.name).to_srgb(to_unit(small.pixels))
    picture = Image.fromarray(np.asarray(to_levels(x, 8)))
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()


def _compressed(samples: Samples, kind: str, quality: int) -> bytes:
    """The bytes of a JPEG, WebP, AVIF or HEIC."""
    pixels = samples.pixels
    if samples.alpha is not None:
        pixels = np.concatenate([pixels, samples.alpha[..., None]], axis=-1)
    mode = samples.mode + ("A" if samples.alpha is not None else "")
    array = np.ascontiguousarray(pixels[..., 0] if samples.mode == "L" else pixels)
    picture = Image.frombuffer(mode, (samples.width, samples.height), array.tobytes(), "raw", mode, 0, 1)
    options: dict = {"icc_profile": samples.icc or b""}
    if samples.exif:
        options["exif"] = exif_block.PREFIX + samples.exif if kind in ("JPEG", "HEIC") else samples.exif
    if samples.xmp:
        options["xmp"] = samples.xmp
    if kind == "JPEG":
        options |= {"quality": quality, "subsampling": "4:4:4", "extra": b"".join(samples.extras.get("segments", ()))}
        if "dpi" in samples.extras:
            options["dpi"] = tuple(min(max(round(v), 0), 65535) for v in samples.extras["dpi"])
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True, "method": 0}
    elif kind == "AVIF":
        options |= {"quality": quality, "subsampling": "4:4:4"}
    else:
        from restore_jax.photo.decode import register_heic

        register_heic()
        options |= {"quality": quality, "chroma": "444"}
    file = io.BytesIO()
    picture.save(file, {"HEIC": "HEIF"}.get(kind, kind), **options)
    data = file.getvalue()
    return gain_map.joined(data, samples.extras["gain_map"]) if samples.extras.get("gain_map") else data
