"""Files of every kind, whole and damaged, as samples."""

import contextlib
import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from restore_jax.photo import decode as module
from restore_jax.photo.decode import decode
from restore_jax.photo.png import SIGNATURE, chunk
from restore_jax.photo.read import PhotoError


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "JPEG2000", "PPM"])
def test_lossless_formats(rgb, format):
    found = decode(encoded(Image.fromarray(rgb), format))
    np.testing.assert_array_equal(found.pixels, rgb)
    assert (found.format, found.mode, found.depth) == (format, "RGB", 8)


def test_sixteen_bits_are_not_cut():
    cms = pytest.importorskip("imagecodecs", reason="deep formats need imagecodecs")
    deep = np.random.default_rng(0).integers(0, 65536, (16, 24, 4), dtype=np.uint16)
    found = decode(cms.png_encode(deep))
    np.testing.assert_array_equal(np.concatenate([found.pixels, found.alpha[..., None]], -1), deep)
    found = decode(cms.jpeg2k_encode(deep[..., :3], level=0, reversible=True))
    np.testing.assert_array_equal(found.pixels, deep[..., :3])
    ten = cms.avif_encode((deep[..., :3] >> 6).astype(np.uint16), level=100, bitspersample=10)
    found = decode(ten)
    assert found.depth == 16
    assert found.pixels.max() > 65000  # white is white, but for AVIF's loss
    assert len(np.unique(found.pixels)) > 512


def test_heic(rgb):
    pytest.importorskip("pillow_heif", reason="HEIC needs pillow-heif")
    module.register_heic()
    smooth = np.add.outer(np.arange(64), np.arange(80))[..., None].repeat(3, -1).astype(np.uint8)
    found = decode(encoded(Image.fromarray(smooth), "HEIF", quality=95))
    assert found.format == "HEIC"
    assert np.abs(found.pixels.astype(int) - smooth).mean() < 3


def test_the_first_frame(rgb):
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    for format in ("PNG", "TIFF", "WEBP"):
        data = encoded(
            frames[0],
            format,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if format == "WEBP" else {}),
        )
        np.testing.assert_array_equal(decode(data).pixels, rgb)


def test_palette_with_transparency_and_colour_key(rgb):
    picture = Image.fromarray(rgb).quantize(16)
    found = decode(encoded(picture, "PNG", transparency=picture.getpixel((0, 0))))
    np.testing.assert_array_equal(found.pixels, picture.convert("RGB"))
    assert (found.alpha[0, 0], found.alpha.max(), found.mode) == (0, 255, "RGB")
    found = decode(encoded(Image.fromarray(rgb), "PNG", transparency=tuple(rgb[0, 0].tolist())))
    assert found.alpha[0, 0] == 0
    np.testing.assert_array_equal(found.pixels, rgb)


def test_damaged_exif_is_said_and_the_pixels_survive(rgb):
    data = encoded(Image.fromarray(rgb), "PNG", exif=b"Exif\0\0MM\0*\0\0\xff\xffnonsense")
    with pytest.warns(UserWarning, match=r"x\.png: unreadable EXIF"):
        found = decode(data, "x.png")
    np.testing.assert_array_equal(found.pixels, rgb)
    assert found.exif is None


@pytest.mark.parametrize("data", [b"", b"nonsense" * 9, SIGNATURE, b"II*\0\x08\0\0\0\xff\xff", b"%!PS-Adobe-3.0\n"])
def test_what_is_no_photograph_is_named_in_one_line(tmp_path, data):
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    with pytest.raises(PhotoError) as error:
        decode(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_missing_folder_and_no_raw_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(PhotoError, match="cannot be read"):
            decode(path)
    pytest.importorskip("rawpy", reason="raw needs rawpy")
    with pytest.raises(PhotoError, match=r"x\.nef: not a readable raw file"):
        decode(b"nonsense" * 100, "x.nef")


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("side", [14_000, 2**30])
def test_claims_are_refused_before_anything_is_decoded(side, depth):
    head = struct.pack(">IIBBBBB", side, side, depth, 2, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(PhotoError, match=r"bomb\.png: .*too many pixels"):
        decode(data, "bomb.png")


def test_a_tiff_that_claims_too_much():
    tifffile = pytest.importorskip("tifffile", reason="deep TIFF needs tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((20, 20), np.uint16), metadata=None, rowsperstrip=20)
    data = file.getvalue().replace(struct.pack("<HHII", 256, 4, 1, 20), struct.pack("<HHII", 256, 4, 1, 2**31))
    data = data.replace(struct.pack("<HHIHH", 256, 3, 1, 20, 0), struct.pack("<HHII", 256, 4, 1, 2**31))
    with pytest.raises(PhotoError, match="too many pixels"):
        decode(data)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP", "GIF"])
def test_flipped_bits_give_samples_or_a_photo_error(rgb, format):
    data, rng = encoded(Image.fromarray(rgb), format, exif=Image.Exif()), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] ^= 1 << int(rng.integers(8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(PhotoError):  # anything else fails
                assert decode(bytes(damaged), "x").pixels.ndim == 3
