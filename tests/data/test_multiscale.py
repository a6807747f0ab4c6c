"""Each photograph at each scale, in place, of the size that is said."""

from dataclasses import dataclass

import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.data.multiscale import EXAMPLES, Multiscale
from restore_jax.data.pipeline import Pipeline


@dataclass(frozen=True)
class Photos:
    """A source that holds its photographs, and does not say their sizes."""

    names = ("noise", "grey")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng(0)
        return (rng.integers(0, 256, (24, 31, 3), np.uint8), np.full((17, 40, 3), 90, np.uint8))[index]


def photos():
    return Photos()


def test_numbers_names_and_sizes():
    source, scaled = photos(), Multiscale(photos(), (1.0, 0.5))
    assert len(scaled) == 4
    assert scaled.names == (*source.names, *(f"{name} x0.5" for name in source.names))
    assert scaled.sizes == ((24, 31), (17, 40), (12, 16), (8, 20))
    assert tuple(photo.shape[:2] for photo in scaled) == scaled.sizes
    for k in range(2):
        np.testing.assert_array_equal(scaled[k], source[k])
    np.testing.assert_array_equal(scaled[-1], scaled[3])
    assert (scaled[3] == 90).all()  # constants stay
    assert abs(scaled[2].mean() - source[0].mean()) < 2


def test_it_is_cut_as_any_other():
    batch = Pipeline(Multiscale(photos(), (0.5,)), batch_size=2, crop_px=8)[0]
    assert batch.shape == (2, 8, 8, 3)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.5,), (0.5, 0.5)])
def test_scales_that_are_none(scales):
    with pytest.raises(ValueError, match="different numbers"):
        Multiscale(photos(), scales)


def test_it_is_a_spec():
    assert len(build(EXAMPLES[0])) == 9
