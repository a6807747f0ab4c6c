import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.diffusion.schedule import Karras, LogNormal

SCHEDULES = [Karras(), Karras(0.01, 2.0, 3.0), Karras(0.1, 1.0, 1.0)]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@by_schedule
def test_time_and_sigma_are_inverse(schedule):
    t = jnp.linspace(0, 1, 33)
    # The power rho = 7 makes 7 roundings of one, and its inverse divides them by 7.
    np.testing.assert_allclose(schedule.time(schedule.sigma(t)), t, atol=1e-14)
    sigma = jnp.geomspace(schedule.sigma_min, schedule.sigma_max, 33)
    np.testing.assert_allclose(schedule.sigma(schedule.time(sigma)), sigma, rtol=1e-13)


@by_schedule
@pytest.mark.parametrize("n", [1, 2, 3, 18])
def test_grid_falls_from_sigma_max_over_sigma_min_to_zero(schedule, n):
    grid = np.asarray(schedule.grid(n))
    assert grid.shape == (n + 1,)
    assert (np.diff(grid) < 0).all()
    np.testing.assert_allclose(grid[0], schedule.sigma_max, rtol=1e-13)
    assert grid[-1] == 0
    if n > 1:
        np.testing.assert_allclose(grid[-2], schedule.sigma_min, rtol=1e-13)


def test_grid_is_the_paper_s():
    """EDM eq. 5 as printed: index i of N, no time."""
    n, rho = 18, 7.0
    paper = [(80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho for i in range(n)]
    np.testing.assert_allclose(Karras().grid(n), [*paper, 0.0], rtol=1e-12)


def test_grid_of_no_steps_and_upside_down_levels_are_errors():
    with pytest.raises(ValueError, match="at least 1 step"):
        Karras().grid(0)
    for low, high in ((0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(ValueError, match="sigma_min < sigma_max"):
            Karras(low, high)


LEVELS = LogNormal(mean=-0.7, std=1.3)


def test_quantile_and_probability_are_inverse():
    u = jnp.linspace(0.001, 0.999, 101)
    np.testing.assert_allclose(LEVELS.probability(LEVELS.quantile(u)), u, rtol=1e-12)
    assert (np.diff(LEVELS.quantile(u)) > 0).all()
    np.testing.assert_allclose(LEVELS.quantile(jnp.asarray([0.5])), np.exp(-0.7))  # the median
    # one standard deviation above it: Phi(1), tabulated
    np.testing.assert_allclose(LEVELS.probability(jnp.exp(jnp.asarray([-0.7 + 1.3]))), 0.841344746068543)


def test_draws_are_log_normal(key):
    n = 40_000
    log = np.log(LEVELS(key, n))
    # Standard errors: std / sqrt(n) for the mean, std / sqrt(2 n) for the deviation.
    assert abs(log.mean() + 0.7) < 4 * 1.3 / np.sqrt(n)
    assert abs(log.std() - 1.3) < 4 * 1.3 / np.sqrt(2 * n)
    # Kolmogorov: sqrt(n) max |F_n - F| exceeds 2.23 with probability 1e-4.
    u = np.sort(LEVELS.probability(jnp.exp(jnp.asarray(log))))
    assert np.sqrt(n) * np.abs(u - (np.arange(n) + 0.5) / n).max() < 2.23


def test_draws_with_a_key_each_do_not_know_their_neighbours(key):
    keys = jax.random.split(key, 5)
    np.testing.assert_array_equal(LEVELS(keys, 5)[2:4], LEVELS(keys[2:4], 2))
    assert len(set(np.asarray(LEVELS(keys, 5)))) == 5
