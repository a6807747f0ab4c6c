import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from restore_jax.photo import png
from restore_jax.photo.samples import Samples


def written(pixels, alpha=None, step=5, **said) -> bytes:
    file, like = io.BytesIO(), Samples(pixels=pixels, alpha=alpha, depth=8 * pixels.dtype.itemsize, **said)
    out = png.PngRows(file, *pixels.shape[:2], like)
    for top in range(0, len(pixels), step):
        out.write(pixels[top : top + step], None if alpha is None else alpha[top : top + step])
    out.close()
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_libpng_reads_what_was_written(channels, dtype, alpha):
    cms = pytest.importorskip("imagecodecs", reason="Pillow cuts 16-bit PNG")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:13, 0:17]  # a ramp and noise: all filters are used
    pixels = (np.stack([x * y + 9 * x] * channels, -1) + rng.integers(0, 3, (13, 17, channels))).astype(dtype)
    beside = rng.integers(0, 256, (13, 17)).astype(dtype) if alpha else None
    expected = pixels if beside is None else np.concatenate([pixels, beside[..., None]], -1)
    data = written(pixels, beside, mode="L" if channels == 1 else "RGB")
    np.testing.assert_array_equal(cms.png_decode(data).reshape(expected.shape), expected)


def test_smooth_rows_are_filtered():
    """A ramp is differences of a constant: a hundredth of its bytes."""
    ramp = np.add.outer(np.arange(200), np.arange(300)).astype(np.uint8)[..., None]
    assert len(written(ramp, mode="L")) < ramp.size / 30


def test_what_is_said_beside_the_pixels():
    pixels = np.zeros((2, 2, 3), np.uint8)
    extras = {"dpi": (300.0, 300.0), "text": (("Author", "É"),)}
    data = written(pixels, icc=b"profile", exif=b"II*\0" + bytes(8), xmp=b"<x/>", extras=extras)
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.info["icc_profile"] == b"profile"
    assert picture.info["exif"].endswith(b"II*\0" + bytes(8))
    assert picture.info["XML:com.adobe.xmp"] == "<x/>"
    assert picture.info["Author"] == "É"
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.02)


def test_chunks():
    data = png.chunk(b"IEND", b"ab")
    assert data == struct.pack(">I", 2) + b"IENDab" + struct.pack(">I", zlib.crc32(b"IENDab"))


def test_what_png_cannot_hold():
    with pytest.raises(ValueError, match="PNG holds grey or RGB of 8 or 16 bits, not CMYK of 8"):
        written(np.zeros((2, 2, 4), np.uint8), mode="CMYK")
