import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore_jax.photo.read import PhotoError, read, size


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture, 24 x 40, no two corners alike."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([6 * x, 10 * y, 250 - 3 * x - 5 * y], -1).astype(np.uint8)


def encoded(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


# ----------------------------------------------------------------------- orientation

UPRIGHT = {  # what a camera stored, from what it saw, as the EXIF specification has it
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, 1),  # shown turned clockwise by a quarter
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(rgb, orientation, format, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    stored = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](rgb)))
    path = tmp_path / f"x.{format.lower()}"
    stored.save(path, format, exif=exif, **lossless)
    np.testing.assert_allclose(read(path).astype(int), rgb, atol=8 if format == "JPEG" else 0)
    assert size(path) == size(path.read_bytes()) == rgb.shape[:2]


def test_unreadable_exif_is_said_and_the_pixels_survive(rgb):
    data = encoded(Image.fromarray(rgb), exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xffnonsense")
    with pytest.warns(UserWarning, match="EXIF"):
        np.testing.assert_array_equal(read(data), rgb)


# ----------------------------------------------------------------------- modes


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "L", "LA", "I;16", "CMYK", "YCbCr", "LAB"])
def test_every_mode_comes_out_rgb(rgb, mode):
    picture = Image.fromarray(rgb)
    if mode == "I;16":
        picture = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    else:
        picture = picture.quantize(64) if mode == "P" else picture.convert(mode)
    expected = picture.convert("RGB") if mode not in ("I;16", "LAB") else None
    out = read(encoded(picture, "TIFF"))
    assert out.dtype == np.uint8
    assert out.shape == rgb.shape
    if mode == "I;16":
        np.testing.assert_array_equal(out, np.repeat(rgb[..., :1], 3, -1))
    elif mode == "LAB":
        assert np.abs(out.astype(int) - rgb).mean() < 2  # 8 bits of Lab are coarse in dark blue
    else:
        np.testing.assert_array_equal(out, expected)


def test_sixteen_bit_grey_is_rounded_not_cut():
    levels = np.array([[0, 128, 129, 257, 32768, 65406, 65535]], np.uint16)
    out = read(encoded(Image.fromarray(levels)))
    np.testing.assert_array_equal(out[0, :, 0], np.round(levels[0] / 65535 * 255))


def test_pgm_of_sixteen_bits():
    assert read(b"P5 2 1 65535\n\x00\x00\xff\xff")[0, :, 1].tolist() == [0, 255]


def test_alpha_lies_over_white(rgb):
    alpha = np.full((24, 40, 1), 0, np.uint8)
    alpha[:, 20:] = 255
    out = read(encoded(Image.fromarray(np.concatenate([rgb, alpha], -1))))
    np.testing.assert_array_equal(out[:, :20], 255)
    np.testing.assert_array_equal(out[:, 20:], rgb[:, 20:])


def test_transparent_palette_and_colour_key_lie_over_white(rgb):
    palette = Image.fromarray(rgb).quantize(16)
    np.testing.assert_array_equal(read(encoded(palette, transparency=palette.getpixel((0, 0))))[0, 0], 255)
    keyed = encoded(Image.fromarray(rgb), transparency=tuple(rgb[0, 0].tolist()))
    np.testing.assert_array_equal(read(keyed)[0, 0], 255)
    np.testing.assert_array_equal(read(keyed)[1, 1], rgb[1, 1])


@pytest.mark.parametrize("picture", [np.ones((4, 4), np.float32), np.full((4, 4), 70000, np.int32)])
def test_pixels_without_a_white_are_refused(picture):
    with pytest.raises(PhotoError, match="white"):
        read(encoded(Image.fromarray(picture), "TIFF"))


# ----------------------------------------------------------------------- profiles


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged: what it does to a picture is plain to see."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_profile_is_applied(rgb, format):
    lossless = {"lossless": True} if format == "WEBP" else {}
    out = read(encoded(Image.fromarray(rgb), format, icc_profile=swapped_profile(), **lossless))
    np.testing.assert_allclose(out.astype(int), rgb[..., [1, 0, 2]], atol=1)


def test_profile_is_applied_under_alpha_and_orientation(rgb):
    exif = Image.Exif()
    exif[0x0112] = 3
    rgba = np.concatenate([rgb[::-1, ::-1], np.full((24, 40, 1), 255, np.uint8)], -1)
    out = read(encoded(Image.fromarray(rgba), icc_profile=swapped_profile(), exif=exif))
    np.testing.assert_allclose(out.astype(int), rgb[..., [1, 0, 2]], atol=1)


def test_srgb_profile_changes_nothing(rgb):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read(encoded(Image.fromarray(rgb), icc_profile=profile)), rgb)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_unusable_profile_is_said_and_the_pixels_survive(rgb, mode):
    picture = Image.fromarray(rgb).convert(mode)
    profile = b"not a profile" if mode == "RGB" else swapped_profile()  # one for colour on a grey picture
    with pytest.warns(UserWarning, match="x.png: unusable ICC profile"):
        out = read(encoded(picture, icc_profile=profile), "x.png")
    np.testing.assert_array_equal(out, picture.convert("RGB"))


# ----------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"this is not a picture\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "damaged|not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),  # a program
    ],
)
def test_what_is_no_photograph_is_named(tmp_path, content, says):
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    for reader in (read, size):
        with pytest.raises(PhotoError, match=says) as error:
            reader(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(PhotoError, match="cannot be read") as error:
            read(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated(tmp_path, format, kept):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, format)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(PhotoError, match="cut: "):
        read(path)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_size_needs_the_header_only(format):
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    assert size(encoded(Image.fromarray(noise), format)[:1500]) == (80, 90)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
@pytest.mark.filterwarnings("ignore")  # Pillow and this reader say what they found odd
def test_flipped_bits_give_a_picture_or_a_photo_error(rgb, format):
    data = encoded(Image.fromarray(rgb), format)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] ^= 1 << rng.integers(8)
        with contextlib.suppress(PhotoError):
            assert read(bytes(damaged)).shape[2] == 3


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be huge."""
    chunk = lambda tag, data: struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bomb(side):
    with pytest.raises(PhotoError, match=r"decompression bomb.*MAX_IMAGE_PIXELS"):
        read(bomb(side, side))
