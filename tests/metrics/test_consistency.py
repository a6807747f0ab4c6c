"""Downsample consistency: what an answer says of the picture that it came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.downsample import Downsample
from restore_jax.metrics.consistency import DownsampleConsistency
from restore_jax.metrics.pixel import Mse


def test_a_consistent_answer_is_the_best():
    """Of a flat picture too; of one moved by 0.1, the mean stays and so does 0.01 of square error."""
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 16, 12, 3)), jnp.float32)
    metric = DownsampleConsistency(Downsample(scale=4, kernel="box"), Mse())
    y = x.reshape(2, 4, 4, 3, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(metric(x, y), 0.0, atol=1e-12)
    np.testing.assert_allclose(metric(x + 0.1, y), 0.01, rtol=1e-4)
    shuffled = x.reshape(2, 4, 4, 3, 4, 3)[:, :, ::-1].reshape(x.shape)
    np.testing.assert_allclose(metric(shuffled, y), 0.0, atol=1e-12)
    slope = jax.grad(lambda x: metric(x, y).sum())(x + 0.1)
    np.testing.assert_allclose(slope, 0.2 / (16 * 12 * 3), rtol=1e-3)


def test_sizes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"makes \(4, 3, 3\) of x_hat, and y is \(8, 6, 3\)"):
        DownsampleConsistency()(jnp.zeros((16, 12, 3)), jnp.zeros((8, 6, 3)))
