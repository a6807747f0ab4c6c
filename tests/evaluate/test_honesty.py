"""Maps of what a restoration did: differences, residuals and doubts where they were planted, and the page of them."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from restore_jax.evaluate.honesty import Halves, Shrink, heat, maps_of, noise_level, section, write_page
from restore_jax.photo.photo import Photo

RNG = np.random.default_rng(0)


def photo(pixels):
    return Photo(pixels=np.asarray(pixels, np.uint8))


def smooth(height, width):
    """A picture whose cubic reduction and enlargement are known to nearly nothing: a slope."""
    down, across = np.mgrid[0:height, 0:width]
    return np.stack([60 + 100 * down / height, 60 + 100 * across / width, 0 * down + 90], -1)


@pytest.mark.parametrize("cuts", [(37,), (1, 2, 30), (10, 20)])
def test_blocks_keep_their_means(cuts):
    rows = RNG.random((37, 23, 3), np.float32)
    shrink = Shrink(37, 23, side=10)  # blocks of 4, a last one of 1 row and 3 columns
    for part in np.split(rows, cuts):
        if len(part):
            shrink.write(part)
    small = shrink.picture()
    assert small.shape == (10, 6, 3)
    np.testing.assert_allclose(small[2, 1], rows[8:12, 4:8].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(small[-1, -1], rows[36:, 20:].mean((0, 1)), rtol=1e-5)


def test_a_small_picture_is_not_shrunk():
    rows = RNG.random((5, 4, 3), np.float32)
    shrink = Shrink(5, 4)
    shrink.write(rows)
    np.testing.assert_array_equal(shrink.picture(), rows)


def test_channels_are_divided():
    first, others = Shrink(2, 2), Shrink(2, 2)
    rows = RNG.random((2, 2, 6), np.float32)
    Halves(first, others).write(rows)
    np.testing.assert_array_equal(first.picture(), rows[..., :3])
    np.testing.assert_allclose(others.picture()[..., 0], rows[..., 3:].mean(-1), rtol=1e-6)


def test_the_difference_lies_where_it_was_planted():
    before = smooth(300, 40)  # more than a band of rows
    after = before.copy()
    after[270:280, 10:20] += 51  # 0.2 of white
    maps = maps_of(photo(before), photo(after))
    expected = np.zeros((300, 40))
    expected[270:280, 10:20] = 0.2
    np.testing.assert_allclose(maps.maps["difference"], expected, atol=1e-6)
    assert set(maps.maps) == {"difference"}  # the operator is not known, nothing was drawn
    said = float(maps.figures["mean difference"].removesuffix(" / 255"))
    assert said == pytest.approx(51 * 100 / 12000, abs=0.006)  # two decimals


def test_what_enlarges_faithfully_leaves_no_residual():
    """Slopes are resampled exactly inside; at the border and by rounding, twice, up to 2 levels are lost."""
    small = photo(smooth(80, 60))
    big = photo(np.asarray(Image.fromarray(small.pixels).resize((240, 320), Image.Resampling.BICUBIC)))
    maps = maps_of(small, big)
    assert maps.maps["residual"].shape == (80, 60)
    assert maps.maps["residual"].max() <= 2 / 255
    assert maps.maps["difference"].max() <= 1 / 255
    assert maps.maps["doubt"].max() <= 2


def test_bands_are_those_of_the_whole_picture():
    """More rows than a band: the residual is that of Pillow's reduction in one piece."""
    big = photo(RNG.integers(0, 256, (560, 24, 3)))
    whole = np.stack(
        [
            np.asarray(Image.fromarray(big.x[..., c]).resize((6, 140), Image.Resampling.BICUBIC)).clip(0, 1)
            for c in range(3)
        ],
        -1,
    )
    small = photo(np.full((140, 6, 3), 128))
    residual = maps_of(small, big).maps["residual"]
    np.testing.assert_allclose(residual, np.abs(whole - 128 / 255).mean(-1), atol=1e-5)


def test_a_hallucination_is_marked():
    """A sharp thing that was not in y stands out of the residual, and nothing else does."""
    small = photo(smooth(64, 64))
    big = np.asarray(Image.fromarray(small.pixels).resize((256, 256), Image.Resampling.BICUBIC)).copy()
    big[100:130, 60:90] = 255
    doubt = maps_of(small, photo(big)).maps["doubt"] > 1
    assert doubt[104:126, 64:86].all()
    doubt[92:138, 52:98] = False
    assert doubt.mean() < 0.02


def test_a_spread_is_marked_where_it_is_large():
    spread = np.full((20, 20, 1), 0.01, np.float32)
    spread[5:8, 5:8] = 0.2
    pair = photo(smooth(20, 20))
    doubt = maps_of(pair, pair, spread).maps["doubt"]
    np.testing.assert_array_equal(doubt > 1, spread[..., 0] > 0.1)


def test_the_noise_level_is_robust():
    noise = np.abs(RNG.standard_normal((200, 200)))
    with_outliers = noise.copy()
    with_outliers[:10] = 50
    assert noise_level(with_outliers) == pytest.approx(noise_level(noise), rel=0.15)
    assert noise_level(np.zeros((4, 4))) == 1 / 255
    # half-normal: median 0.674, and the median distance from it is 0.400
    assert noise_level(noise) == pytest.approx(0.674 + 3 * 1.4826 * 0.400, rel=0.03)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="no multiple"):
        maps_of(photo(smooth(8, 8)), photo(smooth(16, 15)))


def test_heat_grows_brighter():
    brightness = heat(np.linspace(0, 1, 50).reshape(1, 50)).sum(-1)[0]
    assert (np.diff(brightness) > 0).all()


def test_the_page_holds_the_pictures(tmp_path):
    pair = photo(smooth(20, 30))
    part = section("<b>.jpg", maps_of(pair, pair, np.zeros((20, 30, 1), np.float32)), {"model": "a & b"})
    write_page(tmp_path / "report.html", [part], {"settings": "{}"}, left_out=3)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page
    assert "a &amp; b" in page
    assert "3 more photographs" in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in pictures]
    assert sizes == [(30, 20)] * 5  # before, after, difference, spread, doubt
