"""A file becomes a photograph: `read(path) -> uint8 h w 3`, upright, sRGB.

What a picture file may hold, and what becomes of it:

    EXIF orientation      applied: rows run downwards as the photographer stood
    ICC profile           converted to sRGB (relative colorimetric, black point compensated)
    grey, 1 bit, palette  the same colours as RGB
    16-bit grey           rounded to 8 bits; 16-bit colour is cut to 8 bits by Pillow
    alpha                 laid over white, so that nothing hidden shows
    CMYK, Lab, YCbCr      to RGB, by the profile where there is one
    several frames        the first
    float, 32-bit         refused: such a file does not say which number is white

A JPEG with flipped bits may decode without complaint into a wrong picture: the format has no checksum.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

# Formats that hold photographs. Pillow also opens programs (EPS runs Ghostscript): not from strangers.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
EXIF_ORIENTATION = 0x0112
Image.init()  # registers every format, which `open(formats=...)` presumes


class PhotoError(ValueError):
    """A file that is not a readable photograph; one line: which file, what is wrong, what to do."""


def read(file: str | Path | bytes, name: str = "") -> UInt8[np.ndarray, "h w 3"]:
    """The photograph in a file, given by its path or its bytes. 10 to 30 ms a megapixel.

    Errors call it `name`, or else by its path.

    Raises:
        PhotoError: missing, empty, truncated, damaged, not a photograph, or too large to be honest.
    """
    name = name or _name(file)
    with _opened(file, name) as picture:
        picture.load()
        return np.array(_to_srgb(_to_8_bit(_upright(picture, name), name), name))


def size(file: str | Path | bytes, name: str = "") -> tuple[int, int]:
    """Height and width of the upright photograph, from its header alone: 0.1 ms, WebP 7 ms.

    An orientation that a PNG states only behind its pixels, which is allowed and rare, is not seen here.

    Raises:
        PhotoError: as `read`, as far as the header tells.
    """
    name = name or _name(file)
    with _opened(file, name) as picture:
        # Of a TIFF Pillow says the upright size at once.
        lying = picture.format != "TIFF" and _orientation(picture, name) in (5, 6, 7, 8)
        return (picture.width, picture.height) if lying else (picture.height, picture.width)


def _name(file: str | Path | bytes) -> str:
    return "photograph" if isinstance(file, bytes) else str(file)


@contextlib.contextmanager
def _opened(file: str | Path | bytes, name: str) -> Iterator[Image.Image]:
    """The picture, header read; whatever goes wrong with it from here on becomes a PhotoError."""
    again = "Copy or export it again."
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as picture:
            yield picture
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        if (len(file) if isinstance(file, bytes) else Path(file).stat().st_size) == 0:
            raise PhotoError(f"{name}: the file is empty (0 bytes). {again}") from error
        raise PhotoError(f"{name}: not a picture of a kind read here. Save it as PNG or JPEG.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(
            f"{name}: too many pixels, which may be an attack (decompression bomb): {_one_line(error)} "
            "If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except Exception as error:  # damaged files make Pillow raise nearly anything, struct.error to SyntaxError
        if isinstance(error, OSError) and error.strerror:  # said by the file system
            why = f"cannot be read: {error.strerror.lower()}. Check the path and its permissions."
        else:
            why = f"truncated or damaged ({_one_line(error)}). {again}"
        raise PhotoError(f"{name}: {why}") from error


def _orientation(picture: Image.Image, name: str) -> int:
    try:
        return Image.Image.getexif(picture).get(EXIF_ORIENTATION, 1)  # PNG's own would decode the pixels
    except Exception as error:  # the pixels may be whole all the same
        warnings.warn(f"{name}: unreadable EXIF ({_one_line(error)}); taken as upright.", stacklevel=2)
        return 1


def _upright(picture: Image.Image, name: str) -> Image.Image:
    return ImageOps.exif_transpose(picture) if _orientation(picture, name) != 1 else picture


def _to_8_bit(picture: Image.Image, name: str) -> Image.Image:
    if not picture.mode.startswith(("I", "F")):
        return picture
    levels = np.asarray(picture)
    if picture.mode == "F" or levels.min() < 0 or levels.max() > 65535:
        kind = "float" if picture.mode == "F" else "32-bit"
        raise PhotoError(f"{name}: {kind} pixels do not say what is white. Save it with 8 or 16 bits.")
    grey = Image.fromarray(((levels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    grey.info = {key: value for key, value in picture.info.items() if key == "icc_profile"}
    return grey


def _to_srgb(picture: Image.Image, name: str) -> Image.Image:
    """RGB on white, by the file's profile where it has one."""
    profile = picture.info.get("icc_profile")
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    # Only these modes have profiles; palettes and the rest are some other way of writing RGB.
    mode = {"1": "L", "LA": "L", "La": "L"}.get(picture.mode, picture.mode)
    picture = picture.convert(mode if mode in ("L", "CMYK", "LAB") else "RGB")
    if profile or picture.mode == "LAB":  # Pillow converts Lab by profiles only
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
            picture = ImageCms.buildTransform(
                source,
                ImageCms.createProfile("sRGB"),
                inMode=picture.mode,
                outMode="RGB",
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            ).apply(picture)
        except (ImageCms.PyCMSError, OSError) as error:  # a broken profile, or one for another kind of pixels
            warnings.warn(f"{name}: unusable ICC profile ({_one_line(error)}); taken as sRGB.", stacklevel=2)
    picture = picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    return Image.composite(picture, white, alpha) if alpha else picture


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
