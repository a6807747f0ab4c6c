"""Distances by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.metrics.pixel import Charbonnier, Mse, PseudoHuber, same_shape

EPS = 1.2e-7


@pytest.fixture
def pair():
    draw = np.random.default_rng(0)
    return draw.uniform(size=(2, 16, 12, 3)), draw.uniform(size=(2, 16, 12, 3))


def single(pair):
    return [jnp.asarray(x, jnp.float32) for x in pair]


def test_mse(pair):
    """The mean of 576 squares below 1, each rounded a few times; their sum, pairwise or by lanes, ten times."""
    reference = ((pair[0] - pair[1]) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(Mse()(*single(pair)), reference, rtol=20 * EPS)


def test_charbonnier(pair):
    reference = (np.sqrt((pair[0] - pair[1]) ** 2 + 0.1**2) - 0.1).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(Charbonnier(eps=0.1)(*single(pair)), reference, rtol=20 * EPS)


def test_charbonnier_is_the_absolute_error_from_afar():
    """`sqrt(d^2 + eps^2) - eps = d - eps + eps^2 / 2 d`, and half the square near 0: `d^2 / 2 eps`."""
    far, near = jnp.full((1, 1, 1), 1.0), jnp.full((1, 1, 1), 1e-4)
    zero = jnp.zeros((1, 1, 1))
    np.testing.assert_allclose(Charbonnier(eps=1e-3)(far, zero), 1 - 1e-3 + 0.5e-6, rtol=2 * EPS)
    # sqrt(1 + r^2) - 1 = r^2 / 2 (1 - r^2 / 4 ...) at r = 0.1; the difference of two numbers of 1e-3 keeps eps of them.
    np.testing.assert_allclose(Charbonnier(eps=1e-3)(near, zero), 5e-6, rtol=0.0026, atol=2e-3 * EPS)


def test_pseudo_huber_is_one_length_a_picture(pair):
    reference = np.sqrt(((pair[0] - pair[1]) ** 2).mean(axis=(1, 2, 3)) + 0.03**2) - 0.03
    np.testing.assert_allclose(PseudoHuber(c=0.03)(*single(pair)), reference, rtol=20 * EPS)


def test_pseudo_huber_is_the_published_one_over_sqrt_n(pair):
    """Eq. 7: `sqrt(|d|^2 + (0.00054 sqrt(N))^2) - 0.00054 sqrt(N)`."""
    n = pair[0][0].size
    length = np.sqrt(((pair[0] - pair[1]) ** 2).sum(axis=(1, 2, 3)) + 0.00054**2 * n) - 0.00054 * np.sqrt(n)
    np.testing.assert_allclose(PseudoHuber()(*single(pair)), length / np.sqrt(n), rtol=20 * EPS)


def test_slopes_are_bounded(pair):
    """Of both robust distances, and not of the square: ten times the error, no steeper than the limit."""
    a, b = single(pair)
    slope = lambda metric: np.abs(jax.grad(lambda x: metric(x, b).sum())(b + 10 * (a - b))) * a[0].size
    assert slope(Charbonnier()).max() <= 1 + 4 * EPS
    assert np.sqrt((slope(PseudoHuber())[0] ** 2).mean()) <= 1 + 40 * EPS
    assert slope(Mse()).max() > 10


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"pictures of one shape, not \(2, 3\) with \(1, 3\)"):
        same_shape(jnp.zeros((2, 3)), jnp.zeros((1, 3)))
