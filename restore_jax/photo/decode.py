"""Files of every kind as `Samples`: `decode(path)`.

Pillow reads what has 8 bits. It cuts deeper colour to 8 bits, so deeper PNG, JPEG 2000, AVIF and TIFF go through
imagecodecs and tifffile, HEIC through pillow-heif, camera raw through LibRaw, rendered to 16-bit sRGB with the
camera's white balance and without automatic brightening. The size is read from the header and judged before any
pixel is decoded.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from restore_jax.photo import exif as exif_block
from restore_jax.photo import gain_map, tiff, xmp
from restore_jax.photo.colour import codec
from restore_jax.photo.read import FORMATS, PhotoError
from restore_jax.photo.samples import PhotoWarning, Samples, upright

MAX_PIXELS = 2 * 89_478_485  # where Pillow refuses, too: 16 bits of colour are 1.1 GB
MAX_BYTES = 2**32
RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".rwl", ".nrw", ".3fr", ".iiq")
AGAIN = "Copy or export it again."
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
MISSING_HEIC = 'HEIC files need pillow-heif: pip install "restore-jax[heic]".'
MISSING_RAW = 'Raw files need the extra "raw": pip install "restore-jax[raw]".'
WHITE_ENOUGH = 64.0  # six stops above white: beyond it, floats are numbers of some other kind


def decode(file: str | Path | bytes, name: str = "") -> Samples:
    """What a file holds, upright.

    Raises:
        PhotoError: missing, empty, truncated, damaged, not a photograph, or more than MAX_PIXELS.
        ImportError: HEIC without pillow-heif, raw without rawpy.
    """
    name = name or ("photograph" if isinstance(file, bytes) else str(file))
    with _named(name):
        if not isinstance(file, bytes) and Path(file).stat().st_size > MAX_BYTES:
            raise PhotoError(f"{name}: a file of over 4 GB is not read. Cut it into parts.")
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
        if not data:
            raise PhotoError(f"{name}: the file is empty (0 bytes). {AGAIN}")
        if (Path(name).suffix.lower() in RAW and data[:3] != b"\xff\xd8\xff") or _is_dng(data):
            return _raw(data, name)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            from restore_jax.photo.tiff_file import deep

            found = deep(data, name)
            if found is not None:
                return _oriented(found)
        return _through_pillow(data, name)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Whatever goes wrong becomes a PhotoError of one line that begins with the name."""
    try:
        yield
    except (PhotoError, ImportError, PhotoWarning):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise PhotoError(f"{name}: too many pixels to be opened ({_line(error)}). Cut it into parts.") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        if isinstance(error, OSError) and error.strerror:  # said by the file system
            raise PhotoError(
                f"{name}: cannot be read: {error.strerror.lower()}. Check the path and its permissions."
            ) from error
        raise PhotoError(f"{name}: truncated or damaged ({_line(error)}). {AGAIN}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def judged(height: int, width: int, name: str) -> None:
    """Refuses a size before a pixel is decoded.

    Raises:
        PhotoError: empty, or more than MAX_PIXELS.
    """
    if height < 1 or width < 1:
        raise PhotoError(f"{name}: a picture of {width} x {height} pixels. {AGAIN}")
    if height * width > MAX_PIXELS:
        raise PhotoError(
            f"{name}: {width} x {height} are too many pixels (over {MAX_PIXELS}), which may be an attack "
            "(decompression bomb). Cut it into parts if you trust it."
        )


# -------------------------------------------------------------------------------------------- Pillow


def _through_pillow(data: bytes, name: str) -> Samples:
    if data[4:8] == b"ftyp" and data[8:12] in HEIC:
        register_heic()
    try:
        picture = Image.open(io.BytesIO(data), formats=(*FORMATS, "HEIF") if "HEIF" in Image.OPEN else FORMATS)
    except Image.UnidentifiedImageError as error:
        raise PhotoError(f"{name}: not a picture of a kind read here. Save it as PNG or JPEG.") from error
    with picture:
        judged(picture.height, picture.width, name)
        kind = {"MPO": "JPEG", "HEIF": "HEIC"}.get(picture.format or "", picture.format or "")
        extras: dict[str, Any] = {"mode": picture.mode}
        if picture.info.get("dpi"):
            extras["dpi"] = tuple(float(v) for v in picture.info["dpi"])
        deep = _deep(picture, data, kind)
        if kind == "TIFF":  # Pillow turns a TIFF as it loads it
            picture.load()
            stored = exif_block.of_tiff(data)
        else:
            picture.load()
            stored = exif_block.bare(picture.info.get("exif"))
            if stored is None and "Raw profile type exif" in picture.info:
                stored = exif_block.bare(Image.Image.getexif(picture).tobytes())
        if kind == "JPEG":
            extras |= gain_map.extras(data)
        if kind == "PNG":
            extras["text"] = tuple(
                (k, str(v)) for k, v in getattr(picture, "text", {}).items() if not k.startswith(("XML:", "Raw prof"))
            )
        packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or None
        pixels, alpha, mode = deep if deep is not None else _split(picture, name)
        samples = Samples(
            pixels=pixels,
            alpha=alpha,
            depth=8 * pixels.dtype.itemsize,
            mode=mode,
            icc=picture.info.get("icc_profile") or None,
            exif=stored,
            xmp=packet.encode() if isinstance(packet, str) else packet,
            format=kind,
            extras=extras,
            name=name,
        )
        return _oriented(samples, turned=kind in ("TIFF", "HEIC"))  # those the decoder has turned


def _split(picture: Image.Image, name: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Pixels, alpha and mode of what Pillow holds."""
    if picture.mode.startswith("I"):
        levels = np.asarray(picture)
        if levels.min() < 0 or levels.max() > 65535:
            raise PhotoError(f"{name}: 32-bit pixels do not say what is white. Save it with 8 or 16 bits.")
        return levels.astype(np.uint16)[..., None], None, "L"
    if picture.mode == "F":
        return np.asarray(picture, np.float32)[..., None], None, "L"
    alpha = None
    if picture.has_transparency_data:
        whole = picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
        alpha = np.array(whole.getchannel("A"))
        picture = whole
    mode = {"1": "L", "LA": "L", "La": "L"}.get(picture.mode, picture.mode)
    mode = mode if mode in ("L", "CMYK", "LAB") else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    pixels = np.array(picture)
    if mode == "LAB":  # a and b are signed in the file, and Pillow gives the file's bytes
        pixels ^= np.array([0, 128, 128], np.uint8)
    return pixels[..., None] if mode == "L" else pixels, alpha, mode


def _deep(picture: Image.Image, data: bytes, kind: str) -> tuple[np.ndarray, np.ndarray | None, str] | None:
    """The samples of what has more than 8 bits and is cut to 8 by Pillow; None where Pillow is right."""
    if kind == "PNG" and data[24] == 16 and data[25] in (2, 4, 6):
        # imagecodecs does not ask for what is behind the last row; that the file ends is looked at here.
        if b"IEND" not in data[-64:]:
            raise ValueError("it ends before its end")
        levels = codec().png_decode(data)
    elif kind == "JPEG2000" and picture.mode != "I;16" and _jpeg2000_bits(data) > 8:
        levels = codec().jpeg2k_decode(data)
        levels = _widened(levels, _jpeg2000_bits(data))
    elif kind == "AVIF" and _avif_bits(data) > 8:
        levels = _widened(codec().avif_decode(data), _avif_bits(data))
    elif kind == "HEIC" and int(picture.info.get("bit_depth", 8)) > 8:
        import pillow_heif

        heif = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        levels = np.asarray(heif[heif.primary_index])  # 16 bits hold 10 or 12 at their upper end
    else:
        return None
    if levels.dtype != np.uint16 or levels.shape[:2] != (picture.height, picture.width):
        return None
    levels = levels.reshape(*levels.shape[:2], -1)
    colour = levels.shape[2] - (levels.shape[2] in (2, 4))
    if colour not in (1, 3):
        raise ValueError(f"{levels.shape[2]} channels")
    alpha = np.ascontiguousarray(levels[..., -1]) if levels.shape[2] in (2, 4) else None
    return np.ascontiguousarray(levels[..., :colour]), alpha, "L" if colour == 1 else "RGB"


def _jpeg2000_bits(data: bytes) -> int:
    at = data.find(b"\xff\x4f\xff\x51")  # the start of a codestream and its size marker
    return (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 8


def _avif_bits(data: bytes) -> int:
    at = data.find(b"av1C", 0, 4096)
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _widened(levels: np.ndarray, bits: int) -> np.ndarray:
    """Levels of 9 to 15 bits spread over 16, white to white."""
    if levels.dtype != np.uint16 or bits >= 16:
        return levels
    white = 2**bits - 1
    return ((np.minimum(levels, white).astype(np.uint32) * 65535 + white // 2) // white).astype(np.uint16)


def register_heic() -> None:
    """Teaches Pillow HEIC.

    Raises:
        ImportError: pillow-heif is not installed.
    """
    if "HEIF" in Image.OPEN:
        return
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError(MISSING_HEIC) from error
    pillow_heif.register_heif_opener()


# -------------------------------------------------------------------------------------------- raw


def _is_dng(data: bytes) -> bool:
    try:
        return data[:2] in (b"II", b"MM") and 50706 in tiff.directory(data, tiff.first(data)).records
    except ValueError:
        return False


def _raw(data: bytes, name: str) -> Samples:
    try:
        import rawpy
    except ImportError as error:
        raise ImportError(MISSING_RAW) from error
    try:
        with rawpy.imread(io.BytesIO(data)) as file:
            judged(file.sizes.height, file.sizes.width, name)
            pixels = file.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                gamma=(2.4, 12.92),
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
            )
    except rawpy.LibRawError as error:
        raise PhotoError(f"{name}: not a readable raw file ({_line(error)}). {AGAIN}") from error
    try:
        stored = exif_block.of_tiff(data)
    except ValueError:  # not built on TIFF
        stored = None
    samples = Samples(
        pixels=np.ascontiguousarray(pixels), depth=16, exif=stored, format="RAW", extras={"mode": "RAW"}, name=name
    )
    return _oriented(samples, turned=True)


# -------------------------------------------------------------------------------------------- metadata


def _oriented(samples: Samples, turned: bool = False) -> Samples:
    """The samples upright by EXIF, or else by XMP, if the decoder has not turned them; and EXIF that says so."""
    block, pixels, alpha, extras = samples.exif, samples.pixels, samples.alpha, dict(samples.extras)
    stated = None
    if block is not None:
        try:
            stated = exif_block.orientation(block)
            height, width = upright(pixels, 1 if turned else stated or 1).shape[:2]
            block = exif_block.edited(block, height, width, thumbnail=_old_thumbnail(block))
        except Exception as error:  # the pixels may be whole all the same
            warnings.warn(f"{samples.name}: unreadable EXIF ({_line(error)}); left out.", PhotoWarning, stacklevel=6)
            block = None
    fallback = None if samples.format == "AVIF" else xmp.orientation(samples.xmp)  # AVIF's container states it
    turn = 1 if turned else stated or fallback or 1
    pixels = upright(pixels, turn)
    if turn != 1 and extras.pop("gain_map", None) is not None:
        extras.pop("segments", None)
        what = "the HDR gain map is left out, since the picture is turned."
        warnings.warn(f"{samples.name}: {what}", PhotoWarning, stacklevel=6)
    if pixels.dtype == np.float32:
        high, low = float(pixels.max()), float(pixels.min())
        if not (np.isfinite(high) and np.isfinite(low)):
            raise PhotoError(f"{samples.name}: it holds NaN or infinity, which have no colour. Export it again.")
        if high > WHITE_ENOUGH or low < -WHITE_ENOUGH:
            raise PhotoError(
                f"{samples.name}: float pixels from {low:g} to {high:g}; 1 is white here. Scale it to 0 to 1."
            )
    return replace(
        samples,
        pixels=pixels,
        alpha=None if alpha is None else upright(alpha, turn),
        exif=block,
        extras=extras,
    )


def _old_thumbnail(block: bytes) -> bytes:
    """A sign that a thumbnail was there; saving puts the new one in its place."""
    return b"\xff\xd8\xff\xd9" if tiff.directory(block, tiff.first(block)).following else b""
