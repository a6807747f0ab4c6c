"""The same four crops at every look, and the PSNR of what is shown."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.train.config import Config
from restore_jax.train.preview import Preview
from tests.train.tiny import Bare, tiny_config


def halved(key, x):
    del key
    return Observation(y=x[::2, ::2])


def same(key, x):
    del key
    return Observation(y=x)


def test_the_psnr_of_a_known_error():
    """x_hat = x - 1/10 where x is above 1/10: an error of at most 1/10, 20 dB at least; clipped, less."""
    preview = Preview(Config.parse(tiny_config(crop_px=8)), Bare(), same)
    error = np.clip(np.asarray(preview.x) - 0.1, 0, 1) - np.asarray(preview.x)
    expected = np.mean(-10 * np.log10(np.mean(error**2, axis=(1, 2, 3))))
    psnr, grid = preview(jnp.asarray(-0.1))
    assert psnr == pytest.approx(expected, abs=1e-3)
    assert grid.shape == (4 * 8, 3 * 8, 3)
    np.testing.assert_allclose(grid[:8, 16:], preview.x[0])
    assert preview(jnp.asarray(-0.1))[0] == psnr


def test_a_small_observation_is_shown_as_large_as_its_photograph():
    class Grows(Bare):
        def restorer(self, params):
            return lambda keys, obs: jnp.repeat(jnp.repeat(obs.y, 2, axis=1), 2, axis=2)

    preview = Preview(Config.parse(tiny_config(crop_px=8)), Grows(), halved)
    _, grid = preview(jnp.asarray(0.0))
    np.testing.assert_array_equal(grid[:, :8], grid[:, 8:16])
