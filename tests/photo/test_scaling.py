import numpy as np
import pytest
from PIL import Image

from restore_jax.photo.scaling import Scaling


def test_the_same_size_is_the_same():
    rows = np.random.default_rng(0).random((4, 5, 2), np.float32)
    np.testing.assert_array_equal(Scaling(9, 5, 9, 5).rows(rows, 3, 7), rows)
    assert Scaling(9, 5, 9, 5).needed(3, 7) == (3, 7)


@pytest.mark.parametrize(("height", "width"), [(60, 44), (25, 33), (7, 5), (1, 1)])
@pytest.mark.parametrize("step", [1, 4, 100])
def test_bands_are_the_rows_of_the_whole(height, width, step):
    """Against Pillow on the whole picture: its kernel's weights are float64 sums of float32, so 1e-5."""
    source = np.random.default_rng(0).random((20, 11, 2), np.float32)
    scaling, parts = Scaling(20, 11, height, width), []
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first, last = scaling.needed(top, bottom)
        parts.append(scaling.rows(source[first:last], top, bottom))
    bicubic = Image.Resampling.BICUBIC
    whole = [np.asarray(Image.fromarray(source[..., i]).resize((width, height), bicubic)) for i in range(2)]
    np.testing.assert_allclose(np.concatenate(parts), np.stack(whole, -1), atol=1e-5)


def test_sizes_are_positive():
    with pytest.raises(ValueError, match=r"Scaling.width is at least 1, not 0"):
        Scaling(3, 3, 3, 0)
