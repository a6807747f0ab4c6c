"""Seconds a megapixel of output, on a restorer whose time is known."""

import time

import numpy as np
import pytest

from restore_jax.evaluate.speed import s_per_mp


def test_a_restorer_that_sleeps():
    def slow(key, obs):
        time.sleep(0.05)
        return np.zeros((1, 200, 100, 3))

    seconds = s_per_mp(slow, np.zeros((100, 50, 3), np.float32), repeats=3)
    assert seconds == pytest.approx(0.05 / 0.02, rel=0.5)  # a busy machine sleeps longer, never less
    assert seconds >= 0.05 / 0.02
