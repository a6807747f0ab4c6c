"""TIFF of more than 8 bits: tifffile reads what we write, and we read what it writes."""

import io

import numpy as np
import pytest

from restore_jax.photo.photo import Photo, open_photo, save_photo
from restore_jax.photo.read import PhotoError
from restore_jax.photo.tiff_file import TiffRows, deep

tifffile = pytest.importorskip("tifffile", reason="deep TIFF needs tifffile")


def values(dtype, channels=3) -> np.ndarray:
    rng = np.random.default_rng(0)
    floats = np.issubdtype(dtype, np.floating)
    return (rng.random((9, 11, channels)) if floats else rng.integers(0, 65536, (9, 11, channels))).astype(dtype)


def saved(array, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "lzw"}, {"tile": (16, 16)}])
def test_read(dtype, options):
    pytest.importorskip("imagecodecs", reason="LZW needs imagecodecs")
    photo = open_photo(saved(values(dtype), photometric="rgb", **options))
    np.testing.assert_array_equal(photo.pixels, values(dtype).astype(photo.pixels.dtype))
    assert photo.depth == (16 if dtype == np.uint16 else 32)


def test_planes_white_is_zero_and_premultiplied_alpha():
    planes = np.moveaxis(values(np.uint16), -1, 0)
    found = open_photo(saved(planes, photometric="rgb", planarconfig="separate"))
    np.testing.assert_array_equal(found.pixels, values(np.uint16))
    grey = values(np.uint16, 1)[..., 0]
    np.testing.assert_array_equal(open_photo(saved(grey, photometric="miniswhite")).pixels[..., 0], 65535 - grey)
    found = open_photo(saved(values(np.uint16, 4), photometric="rgb", extrasamples=["assocalpha"]))
    assert found.extras["premultiplied"]
    assert found.alpha is not None


@pytest.mark.parametrize("order", [b"II*\0", b"MM\0*"])
@pytest.mark.parametrize("width", [11, 60_000])
def test_tifffile_reads_what_was_written(order, width, tmp_path):
    """Strips of many rows and of one, in both byte orders (which EXIF decides)."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (7, width, 3), dtype=np.uint16)
    first = b"\x08\0\0\0" if order[:2] == b"II" else b"\0\0\0\x08"
    photo = Photo(
        pixels=pixels, depth=16, exif=order + first + bytes(6), xmp=b"<x/>", icc=b"icc!!", extras={"dpi": (72, 72)}
    )
    save_photo(tmp_path / "x.tif", photo)
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        page = file.pages.first
        np.testing.assert_array_equal(page.asarray(), pixels)
        assert (page.tags.valueof(700), page.tags.valueof(34675)) == (b"<x/>", b"icc!!")
        assert page.tags.valueof(282) == (72000, 1000)
        assert file.byteorder == ("<" if order[:2] == b"II" else ">")


def test_refusals():
    with pytest.raises(PhotoError, match="uint32 pixels do not say what is white"):
        open_photo(saved(values(np.uint32), photometric="rgb"))
    with pytest.raises(PhotoError, match="NaN"):
        open_photo(saved(np.full((4, 4), np.nan, np.float32)))
    with pytest.raises(PhotoError, match="1 is white here"):
        open_photo(saved(np.full((4, 4), 200, np.float32)))
    with pytest.raises(PhotoError, match="truncated"):
        open_photo(saved(values(np.uint16), photometric="rgb")[:-100])
    assert deep(saved(values(np.uint16).astype(np.uint8), photometric="rgb"), "x") is None  # Pillow's


def test_more_than_4_gb_is_refused():
    like = Photo(pixels=np.zeros((1, 40_000, 3), np.float32), depth=32, name="x.tif")
    with pytest.raises(ValueError, match=r"x\.tif: more than 4 GB"):
        TiffRows(io.BytesIO(), 40_000, 40_000, like)
