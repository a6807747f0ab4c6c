"""Linear DNG, as LibRaw reads it."""

from dataclasses import replace

import numpy as np
import pytest

from restore_jax.photo import dng
from restore_jax.photo.photo import Photo, open_photo, save_photo


def test_light_is_that_of_the_formula():
    x = np.array([[[0, 0.04045, 0.5], [1, -1, 2]]], np.float32)
    expected = [[0, 0.04045 / 12.92, ((0.5 + 0.055) / 1.055) ** 2.4], [1, 0, 1]]
    np.testing.assert_allclose(dng.linear(x)[0] / 65535, expected, atol=1e-5)


def test_eight_bits_of_srgb_survive_light():
    levels = np.arange(256, dtype=np.float32).reshape(1, -1, 1) / 255
    light = dng.linear(np.repeat(levels, 3, -1))[0, :, 0] / 65535
    back = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    np.testing.assert_array_equal(np.round(back * 255), np.arange(256))


@pytest.mark.parametrize("camera", [False, True])
def test_libraw_shows_what_was_restored(tmp_path, camera):
    """sRGB to light, to LibRaw's sRGB. LibRaw goes through a camera matrix of four digits and rounds light to 16 bits:
    3e-3, and its gamma near black 12.92 times 1 / 65535. EXIF that names a camera does not bring its colours.
    """
    pytest.importorskip("rawpy", reason="reading DNG needs rawpy")
    y, x = np.mgrid[0:48, 0:64]
    picture = np.stack([x / 63, y / 47, 1 - x / 126 - y / 94], -1).astype(np.float32)
    photo = Photo(pixels=np.round(picture * 65535).astype(np.uint16), depth=16)
    if camera:
        from PIL import Image

        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D Mark II"
        photo = replace(photo, exif=exif.tobytes()[6:])
    save_photo(tmp_path / "x.dng", photo)
    again = open_photo(tmp_path / "x.dng")
    assert (again.format, again.depth) == ("RAW", 16)
    np.testing.assert_allclose(again.x, photo.x, atol=3e-3)
