"""IMDN: the contrast of a channel and its gradient; what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.imdn import IMDN, contrast


def test_contrast_is_deviation_and_mean(key):
    x = jax.random.normal(key, (2, 5, 4, 3))
    expected = np.std(x, (1, 2), keepdims=True) + np.mean(x, (1, 2), keepdims=True)
    np.testing.assert_allclose(contrast(x), expected, atol=1e-6)  # sums of 20 numbers near 1


def test_a_flat_channel_has_a_finite_gradient():
    grad = jax.grad(lambda x: contrast(x).sum())(jnp.full((1, 2, 2, 1), 0.5))
    np.testing.assert_array_equal(grad, jnp.full((1, 2, 2, 1), 0.25))  # of the mean alone


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (IMDN(8, 1, 8), "IMDN.distilled must be between 0 and width 8, got 8"),
        (IMDN(8, 1, 2, 2, 0), "IMDN.scale must be 1 or more, got 0"),
    ],
)
def test_what_cannot_be_is_refused(net, message):
    with pytest.raises(ValueError, match=message):
        net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
