"""A photograph in, restored and out: nothing changes that was not restored."""

import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore_jax.photo.photo import BandWriter, Photo, bands, open_photo, save_photo
from restore_jax.photo.read import PhotoError, read
from restore_jax.photo.samples import PhotoWarning


def photo(mode="RGB", depth=8, alpha=False, size=(17, 23), icc=None) -> Photo:
    """Noise, which nothing but a bit-exact way brings back."""
    rng, channels = np.random.default_rng(0), {"L": 1, "RGB": 3, "LAB": 3, "CMYK": 4}[mode]
    dtype = {8: np.uint8, 16: np.uint16, 32: np.float32}[depth]
    draw = lambda *shape: (
        rng.uniform(-0.5, 3, shape).astype(dtype) if depth == 32 else rng.integers(0, 2**depth, shape).astype(dtype)
    )
    return Photo(pixels=draw(*size, channels), alpha=draw(*size) if alpha else None, depth=depth, mode=mode, icc=icc)


def wide() -> bytes:
    """The profile of a wide gamut with a gamma of 1.8."""
    cms = pytest.importorskip("imagecodecs", reason="profiles need imagecodecs")
    primaries = [0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0]
    return cms.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1.0], primaries=primaries, gamma=1.8)


KINDS = [("L", 8), ("L", 16), ("L", 32), ("RGB", 8), ("RGB", 16), ("RGB", 32), ("CMYK", 8), ("CMYK", 16), ("LAB", 8)]


@pytest.mark.parametrize(
    ("mode", "depth", "alpha"), [(*kind, a) for kind in KINDS for a in (False, True) if not (a and kind[0] == "LAB")]
)
def test_what_is_not_restored_comes_back_bit_for_bit(mode, depth, alpha, tmp_path):
    """Through `x`, and through a TIFF; floats lie beyond black and white, where the restorer does not see them."""
    source = photo(mode, depth, alpha)
    x = source.x
    assert x.dtype == np.float32
    assert x.shape == (17, 23, 3)
    assert 0 <= x.min() < x.max() <= 1
    save_photo(tmp_path / "x.tif", source.restored(x))
    again = open_photo(tmp_path / "x.tif")
    np.testing.assert_array_equal(again.pixels, source.pixels)
    assert (again.mode, again.depth, again.format) == (mode, depth, "TIFF")
    if alpha:
        np.testing.assert_array_equal(again.alpha, source.alpha)


def test_only_restored_pixels_change_under_a_profile():
    source = photo(icc=wide())
    x_hat = source.x
    x_hat[3, 5] = 1 - x_hat[3, 5]
    changed = np.any(source.restored(x_hat).pixels != source.pixels, axis=-1)
    assert changed[3, 5]
    assert changed.sum() == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "LAB"])
def test_restored_colours_are_those_asked_for(mode):
    """Colours inside the gamut, through the file's space and back: within a level of 8 bits of the smoothest space.

    16 bits, a gamma of 1.8 or Lab: rounding is below 1e-3 (Lab is 8 bits: half a level of `a` is 0.5 of 255, about
    0.01 in blue).
    """
    source = photo(mode, 8 if mode == "LAB" else 16, icc=wide() if mode == "RGB" else None)
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 23, dtype=np.float32)[None, :, None], (17, 23, 3))
    flat = replace(source, pixels=np.full_like(source.pixels, source.pixels.max() // 2))
    np.testing.assert_allclose(flat.restored(ramp).x, ramp, atol=0.02 if mode == "LAB" else 1e-3)


def test_profile_agrees_with_littlecms_of_8_bits():
    """Pillow's transform rounds to 8 bits, so half a level, and one more for its shortened curves."""
    source = photo(icc=wide())
    picture = Image.fromarray(source.pixels)
    theirs = ImageCms.profileToProfile(
        picture,
        ImageCms.ImageCmsProfile(io.BytesIO(source.icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=1,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert np.abs(source.x * 255 - np.asarray(theirs)).max() < 1.5


def test_srgb_profile_is_exact():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = photo(icc=profile)
    np.testing.assert_array_equal(source.x, source.pixels / np.float32(255))
    assert source.restored(source.x).icc == profile


def test_unusable_profile_is_said():
    with pytest.warns(UserWarning, match=r"broken\.png: unusable ICC profile"):
        x = replace(photo(icc=b"nonsense" * 20), name="broken.png").x
    np.testing.assert_array_equal(x, photo().pixels / np.float32(255))


@pytest.mark.parametrize("scale", [2, 3])
def test_alpha_and_what_srgb_cannot_hold_are_enlarged_with_it(scale):
    """A constant stays what it is: highlights of 2.5, alpha of a quarter, out of a gamut."""
    source = photo("RGB", 32, True)
    source = replace(source, pixels=np.full_like(source.pixels, 2.5), alpha=np.full_like(source.alpha, 0.25))
    out = source.restored(np.ones((17 * scale, 23 * scale, 3), np.float32))
    np.testing.assert_allclose(out.pixels, 2.5, rtol=1e-6)
    np.testing.assert_allclose(out.alpha, 0.25, rtol=1e-6)
    assert out.pixels.shape == (17 * scale, 23 * scale, 3)


def test_enlarged_by_bands_is_enlarged_at_once(monkeypatch):
    """Bands of 5 rows (the last of 1) against one: the same numbers, since each sees the rows that it depends on."""
    from restore_jax.photo import photo as module

    source, x_hat = photo("RGB", 16, True, icc=wide()), np.full((34, 46, 3), 0.5, np.float32)
    whole = source.restored(x_hat)
    monkeypatch.setattr(module, "BAND", 5)
    parts = source.restored(x_hat)
    # Pillow places the box of a band by its own rounding: a level of 16 bits, not of 8.
    for a, b in ((whole.pixels, parts.pixels), (whole.alpha, parts.alpha)):
        assert np.abs(a.astype(int) - b).max() <= 2


def test_rows_are_those_of_x():
    source = photo("CMYK")
    np.testing.assert_array_equal(source.rows(4, 9), source.x[4:9])


def test_bands_make_the_photograph(tmp_path):
    save_photo(tmp_path / "x.png", photo("RGB", 16))
    np.testing.assert_array_equal(np.concatenate(list(bands(tmp_path / "x.png", 4))), photo("RGB", 16).x)
    with pytest.raises(ValueError, match=r"bands.rows is at least 1"):
        next(bands(tmp_path / "x.png", 0))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dng"])
def test_written_by_bands_as_at_once(tmp_path, suffix):
    source = photo("RGB", 16)
    x_hat = np.repeat(np.repeat(source.x[:, ::-1], 2, axis=0), 2, axis=1)
    with BandWriter(tmp_path / f"bands{suffix}", x_hat.shape[:2], source) as out:
        for top in range(0, 34, 7):
            out.write(x_hat[top : top + 7])
    save_photo(tmp_path / f"whole{suffix}", source.restored(x_hat))
    if suffix == ".dng":
        pytest.importorskip("rawpy", reason="reading DNG needs rawpy")
    one, other = (open_photo(tmp_path / f"{name}{suffix}") for name in ("bands", "whole"))
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_missing_and_surplus_rows_leave_no_file(tmp_path):
    source = photo()
    with (
        pytest.raises(ValueError, match=r"lacks 10 of 17 rows"),
        BandWriter(tmp_path / "x.png", (17, 23), source) as out,
    ):
        out.write(source.x[:7])
    with pytest.raises(ValueError, match=r"has 17 rows of 23"), BandWriter(tmp_path / "x.png", (17, 23), source) as out:
        out.write(source.x[:, :5])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="NaN"):
        source.restored(np.full((17, 23, 3), np.nan, np.float32))


def test_x_is_what_read_gives(tmp_path):
    """For 8 bits without alpha the two readers agree, whichever orientation, stated by EXIF or XMP."""
    picture = Image.fromarray(photo().pixels)
    for i in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = i
        for name, options in (("x.png", {}), ("x.tif", {}), ("x.jpg", {"quality": 95})):
            picture.save(tmp_path / name, exif=exif, **options)
            np.testing.assert_array_equal(open_photo(tmp_path / name).x, read(tmp_path / name) / np.float32(255))
    picture.save(tmp_path / "y.webp", lossless=True, xmp=b'<x tiff:Orientation="8"/>')
    np.testing.assert_array_equal(open_photo(tmp_path / "y.webp").x, read(tmp_path / "y.webp") / np.float32(255))


def test_of_bytes_and_its_name(tmp_path):
    save_photo(tmp_path / "x.png", photo())
    data = (tmp_path / "x.png").read_bytes()
    np.testing.assert_array_equal(open_photo(data).pixels, photo().pixels)
    with pytest.raises(PhotoError, match=r"^stdin: truncated"):
        open_photo(data[:200], "stdin")


def test_alpha_that_a_format_cannot_hold_is_said(tmp_path):
    source = photo("RGB", 8, True)
    with pytest.warns(PhotoWarning, match=r"x\.jpg: JPEG holds no alpha"):
        save_photo(tmp_path / "x.jpg", replace(source, alpha=np.zeros_like(source.alpha)))
    assert open_photo(tmp_path / "x.jpg").pixels.min() >= 253  # white, as JPEG has it


def test_metadata_is_stripped_on_request(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    Image.fromarray(photo().pixels).save(tmp_path / "x.jpg", exif=exif, xmp=b'<a exif:GPSLatitude="52,31N" b="c"/>')
    source = open_photo(tmp_path / "x.jpg")
    for name, options in (("kept", {}), ("gps", {"strip_gps": True}), ("all", {"strip_all": True})):
        save_photo(tmp_path / f"{name}.jpg", source, software="here", **options)
    kept, gps, bare = (
        Image.open(io.BytesIO((tmp_path / f"{name}.jpg").read_bytes())) for name in ("kept", "gps", "all")
    )
    assert kept.getexif().get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)
    assert kept.info["xmp"] == b'<a exif:GPSLatitude="52,31N" b="c"/>'
    assert gps.getexif().get_ifd(0x8825) == {}
    assert gps.info["xmp"] == b'<a b="c"/>'
    assert (gps.getexif()[0x010F], gps.getexif()[0x0131]) == ("Maker", "here")
    assert "exif" not in bare.info
    assert "xmp" not in bare.info


def test_formats_of_8_bits_round(tmp_path):
    """16 bits to the nearest of 256 levels, in formats that hold no more."""
    source = photo("RGB", 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_photo(tmp_path / "x.webp", source)
    np.testing.assert_array_equal(open_photo(tmp_path / "x.webp").pixels, np.round(source.pixels / 257))
