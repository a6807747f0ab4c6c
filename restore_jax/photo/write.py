"""A photograph becomes a file: `write(path, image)`, whole or not at all."""

import contextlib
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

# 4:4:4 keeps colour edges. WebP: `exact` keeps every value, method 0 takes a tenth of the usual time.
FORMATS = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True, "method": 0},
}

Image8 = UInt8[Array | np.ndarray, "h w 3"]
ImageFloat = Float[Array | np.ndarray, "h w 3"]


def to_uint8(
    image: Float[Array | np.ndarray, "*b h w c"] | UInt8[Array | np.ndarray, "*b h w c"],
) -> UInt8[np.ndarray, "*b h w c"]:
    """`floor(255 x + 0.5)` of `x` clipped to [0, 1]: the nearest of 256 levels, halves upwards; uint8 stays.

    `to_uint8(levels / 255)` gives the levels back in float32 and float16; bfloat16 has too few digits.

    Raises:
        ValueError: NaN among the values, or neither float nor uint8.
    """
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    if not jnp.issubdtype(image.dtype, jnp.floating):  # numpy does not know that bfloat16 is a float
        raise ValueError(f"an image is float in [0, 1] or uint8, not {image.dtype}: convert it first.")
    image = image.astype(np.float32)
    if np.isnan(image).any():
        raise ValueError("the image holds NaN: look for what made them; they have no colour.")
    return np.floor(255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)


def write(path: str | Path, image: Image8 | ImageFloat) -> None:
    """Writes `image` (float in [0, 1] or uint8, sRGB) as the suffix of `path` says, whole or not at all.

    PNG and WebP are lossless: `read` gives the same levels back. JPEG has quality 95 and full colour
    resolution. The bytes go to a new file beside `path` which then takes its place in one move, so a
    crash or a full disk leaves what was there before.

    Raises:
        ValueError: an unknown suffix, a wrong shape or type, NaN.
        OSError: the folder is missing, the disk is full, or permission is denied.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path}: cannot write {suffix or 'without a suffix'}; use {', '.join(FORMATS)}.")
    levels = to_uint8(image)
    if levels.ndim != 3 or levels.shape[-1] != 3 or 0 in levels.shape:
        hint = " Write the pictures of a batch one by one." if levels.ndim > 3 else ""
        raise ValueError(f"{path}: an image has the shape (h, w, 3), not {levels.shape}.{hint}")
    file = io.BytesIO()
    Image.fromarray(levels).save(file, **FORMATS[suffix])
    with whole_file(path) as out:
        out.write(file.getbuffer())


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[io.BufferedIOBase]:
    """A new file that takes the place of `path` in one move when the block ends; after an error nothing is left of it.

    Through a link it replaces what the link points at.

    Raises:
        OSError: the folder is missing, the disk is full, or permission is denied.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder; make it first.")
    draft = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(draft, "xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())  # else a power cut may keep the name and lose the bytes
        os.replace(draft, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}; nothing was written", str(path)) from error
    finally:
        draft.unlink(missing_ok=True)
