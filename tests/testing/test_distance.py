"""The sliced Wasserstein distance against optimal transport done the slow way, and against its closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from restore_jax.testing.distance import sliced_wasserstein

EPS = np.finfo(np.float32).eps


def test_in_one_dimension_it_is_optimal_transport(key):
    """Against the best of all n! matchings, by the Hungarian method."""
    a, b = np.random.default_rng(0).standard_normal((2, 30, 1)).astype(np.float32)
    cost = (a - b.T) ** 2
    wanted = np.sqrt(cost[linear_sum_assignment(cost)].mean())
    np.testing.assert_allclose(sliced_wasserstein(key, jnp.asarray(a), jnp.asarray(b), 1), wanted, rtol=100 * EPS)
    assert wanted < 0.9 * np.sqrt(np.trace(cost) / 30)  # matching them as they come would be found out


def test_a_shift_counts_whatever_the_draw(key):
    a = jax.random.normal(key, (50, 2, 2, 3))
    v = jax.random.normal(jax.random.key(1), (2, 2, 3))
    wanted = float(jnp.sqrt(jnp.sum(v**2) / 12))
    for seed in range(3):
        got = sliced_wasserstein(jax.random.key(seed), a, a + v[None], 24)  # 24 is twice 12
        np.testing.assert_allclose(got, wanted, rtol=100 * EPS)


def test_two_gaussians(key):
    n = 20_000
    keys = jax.random.split(key)
    a = jax.random.normal(keys[0], (n, 2, 2, 1))
    b = 0.3 + 1.5 * jax.random.normal(keys[1], (n, 2, 2, 1))
    # Means carry sqrt((1 + 1.5^2) / n) = 0.013 of noise along a direction and deviations 0.009, of which 4 count as
    # independent directions: 4.5 standard errors of the larger.
    assert abs(sliced_wasserstein(key, a, b, 16) - np.sqrt(0.3**2 + 0.5**2)) < 4.5 * 0.013 / np.sqrt(4)


def test_floor_between_two_sets_of_one_uniform_law(key):
    """`E = 1 / (3 (n + 1))`, squared, in one dimension: the variances of uniform order statistics, summed."""
    n, trials = 40, 2000
    sets = jax.random.uniform(key, (2, trials, n, 1))
    squared = jax.vmap(lambda a, b: sliced_wasserstein(key, a, b, 1) ** 2)(*sets)
    error = jnp.std(squared) / np.sqrt(trials)
    assert abs(jnp.mean(squared) - 1 / (3 * (n + 1))) < 4 * error
    assert error < 0.05 / (3 * (n + 1))


def test_order_scale_and_symmetry(key):
    a, b = jax.random.normal(key, (2, 40, 2, 2, 1))
    distance = sliced_wasserstein(key, a, b)
    np.testing.assert_allclose(sliced_wasserstein(key, a[::-1], b), distance, rtol=100 * EPS)
    np.testing.assert_allclose(sliced_wasserstein(key, b, a), distance, rtol=100 * EPS)
    np.testing.assert_allclose(sliced_wasserstein(key, 2 * a, 2 * b), 2 * distance, rtol=100 * EPS)
    assert sliced_wasserstein(key, a, a[::-1]) < 100 * EPS
    jitted = jax.jit(sliced_wasserstein, static_argnames="projections")
    np.testing.assert_allclose(jitted(key, a, b), distance, rtol=100 * EPS)


def test_sets_that_cannot_be_compared(key):
    a = jnp.zeros((4, 2, 2, 1))
    with pytest.raises(ValueError, match="of 4 and 3: cut the larger"):
        sliced_wasserstein(key, a, a[:3])
    with pytest.raises(ValueError, match="projections must be 1 or more, not 0"):
        sliced_wasserstein(key, a, a, 0)
