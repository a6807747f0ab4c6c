"""PSNR against scikit-image's on photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio

from restore_jax.metrics.psnr import Psnr


@pytest.fixture(scope="module")
def pair():
    x = skimage.data.astronaut()[100:228, 150:310] / 255
    return np.clip(x + 0.1 * np.random.default_rng(0).normal(size=x.shape), 0, 1), x


def test_equals_scikit_image(pair):
    """10 log10 of a mean of 61440 squares: 10 / ln 10 times its relative error, in float64 sums at most n eps."""
    reference = peak_signal_noise_ratio(pair[1], pair[0], data_range=1)
    with jax.enable_x64(True):
        np.testing.assert_allclose(Psnr()(*map(jnp.asarray, pair)), reference, atol=4.35 * 61440 * 2.3e-16)
    # In float32 terms are summed by lanes and pairs, some tens of roundings deep, and 20 dB themselves to 2e-6.
    single = [jnp.asarray(x, jnp.float32) for x in pair]
    np.testing.assert_allclose(Psnr()(*single), reference, rtol=0, atol=4.35 * 60 * 1.2e-7)


@pytest.mark.parametrize(("off", "db"), [(1.0, 0.0), (0.1, 20.0), (0.001, 60.0)])
def test_by_hand(off, db):
    """Off by one number everywhere: 576 equal squares, whose sum may round one way each time, by half an eps."""
    x = jnp.zeros((2, 16, 12, 3))
    np.testing.assert_allclose(Psnr()(x + off, x), db, rtol=0, atol=4.35 * 576 * 6e-8)
