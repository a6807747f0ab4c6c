import numpy as np
import pytest
from PIL import Image, ImageOps

from restore_jax.photo.samples import Samples, to_levels, to_unit, upright


@pytest.mark.parametrize(("depth", "white", "dtype"), [(8, 255, np.uint8), (16, 65535, np.uint16)])
def test_every_level_comes_back(depth, white, dtype):
    levels = np.arange(white + 1, dtype=dtype).reshape(1, -1, 1)
    np.testing.assert_array_equal(to_levels(to_unit(levels), depth), levels)
    cut = to_levels(np.array([[[-1.0, 0.5, 2.0]]], np.float32), depth)
    assert cut.ravel().tolist() == [0, (white + 1) // 2, white]


def test_floats_stay():
    values = np.array([[[-1.0, 0.5, 2.0]]], np.float32)
    np.testing.assert_array_equal(to_levels(to_unit(values), 32), values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_that_of_pillow(orientation):
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(array)
    picture.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright(array, orientation), ImageOps.exif_transpose(picture))


def test_what_does_not_fit_together():
    rgb = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(ValueError, match=r"Samples.depth is 8, 16 or 32"):
        Samples(pixels=rgb, depth=16)
    with pytest.raises(ValueError, match=r"Samples.mode .* CMYK with 3"):
        Samples(pixels=rgb, mode="CMYK")
    with pytest.raises(ValueError, match=r"Samples.alpha has the depth and size"):
        Samples(pixels=rgb, alpha=np.zeros((2, 3), np.uint16))
    assert (Samples(pixels=rgb).height, Samples(pixels=rgb).width) == (2, 3)
