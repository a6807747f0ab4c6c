"""A part of the noise is the noise's part, bit for bit."""

import jax
import numpy as np
import pytest

from restore_jax.core import normal
from restore_jax.infer.noise import normal_part


@pytest.mark.parametrize("index", [0, 2])
def test_a_part_is_that_of_the_whole(key, index):
    whole = np.asarray(normal(key, (3, 13, 11, 6)))[index]
    rows, cols = np.array([4, 5, 6, 12, 12]), np.array([0, 3, 10])
    part = normal_part(key, (13, 11, 6), rows, cols, index)
    np.testing.assert_array_equal(part, whole[rows][:, cols])


def test_counters_beyond_32_bits_do_not_repeat(key):
    """Row 2^21 of a picture 2048 wide begins at number 2^32: the high word counts."""
    far = normal_part(key, (2**21 + 1, 2048, 1), np.array([2**21]), np.arange(50))
    near = normal_part(key, (2**21 + 1, 2048, 1), np.array([0]), np.arange(50))
    assert np.abs(far - near).max() > 0.1
    assert abs(far.mean()) < 4 / 50**0.5


def test_other_generators_draw_the_whole():
    key = jax.random.key(0, impl="rbg")
    part = normal_part(key, (5, 4, 3), np.arange(2), np.arange(4))
    np.testing.assert_array_equal(part, np.asarray(normal(key, (1, 5, 4, 3)))[0, :2])
