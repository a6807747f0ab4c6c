"""Schedules and distributions against their inverses, their laws and the papers' formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.diffusion.schedule import (
    DISTRIBUTIONS,
    SCHEDULES,
    Angle,
    Cosine,
    InTime,
    Karras,
    Levels,
    LogitNormal,
    LogNormal,
    LogUniform,
    Schedule,
    Straight,
    VarianceExploding,
    VariancePreserving,
)

OTHERS = [
    Karras(0.01, 2.0, 3.0),
    Karras(0.1, 1.0, 1.0),
    VariancePreserving(2.0, 2.0, 1.0),
    Cosine(1.0, 0.008, 0.05, 5.0),
]
by_schedule = pytest.mark.parametrize("schedule", [build(spec) for spec in SCHEDULES] + OTHERS, ids=str)
by_levels = pytest.mark.parametrize("levels", [build(spec) for spec in DISTRIBUTIONS], ids=str)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


# ------------------------------------------------------------------------------- laws of every schedule


@by_schedule
def test_time_and_sigma_are_inverse(schedule):
    assert isinstance(schedule, Schedule)
    t = jnp.linspace(0, 1, 33)
    # The power rho = 7 makes 7 roundings of one, and its inverse divides them by 7. Cosine's time near 0 is a
    # difference of angles of size 0.01, under a root: 100 roundings.
    np.testing.assert_allclose(schedule.time(schedule.sigma(t)), t, atol=3e-14)
    sigma = jnp.geomspace(schedule.sigma_min, schedule.sigma_max, 33)
    # tan and 1 / (1 - tau) multiply a rounding of their argument by sigma / d = 320 at most.
    np.testing.assert_allclose(schedule.sigma(schedule.time(sigma)), sigma, rtol=1e-12)


@by_schedule
def test_sigma_rises_from_sigma_min_to_sigma_max(schedule):
    sigma = np.asarray(schedule.sigma(jnp.linspace(0, 1, 200)))
    assert (np.diff(sigma) > 0).all()
    np.testing.assert_allclose(sigma[[0, -1]], [schedule.sigma_min, schedule.sigma_max], rtol=1e-12)


@by_schedule
@pytest.mark.parametrize("n", [1, 3, *(pytest.param(n, marks=pytest.mark.soak) for n in (2, 18))])
def test_grid_falls_from_sigma_max_over_sigma_min_to_zero(schedule, n):
    grid = np.asarray(schedule.grid(n))
    assert grid.shape == (n + 1,)
    assert (np.diff(grid) < 0).all()
    np.testing.assert_allclose(grid[0], schedule.sigma_max, rtol=1e-12)
    assert grid[-1] == 0
    if n > 1:
        np.testing.assert_allclose(grid[-2], schedule.sigma_min, rtol=1e-12)
        np.testing.assert_allclose(grid[:-1], schedule.sigma(jnp.linspace(1, 0, n)), rtol=1e-12)


@pytest.mark.parametrize("schedule", [Karras(), VariancePreserving(), Cosine()], ids=str)
def test_single_precision_keeps_the_inverse(schedule):
    with jax.enable_x64(False):
        t = jnp.linspace(0, 1, 9)
        sigma = schedule.sigma(t)
        assert sigma.dtype == jnp.float32
        # the same counts of roundings as above, of 6e-8 instead of 1e-16
        np.testing.assert_allclose(schedule.time(sigma), t, atol=2e-5)


@by_schedule
def test_grid_of_no_steps_is_an_error(schedule):
    with pytest.raises(ValueError, match="at least 1 step"):
        schedule.grid(0)


# ------------------------------------------------------------------------------- the papers' formulas


def test_grid_is_the_paper_s():
    """EDM eq. 5 as printed: index i of N, no time."""
    n, rho = 18, 7.0
    paper = [(80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho for i in range(n)]
    np.testing.assert_allclose(Karras().grid(n), [*paper, 0.0], rtol=1e-12)


def test_variance_exploding_is_geometric():
    np.testing.assert_allclose(VarianceExploding(0.1, 10.0).grid(3), [10, 1, 0.1, 0], rtol=1e-13)


def test_variance_preserving_is_ddpm_s_thousand_betas():
    """Song et al. 2021, appendix B: `prod(1 - beta_i)` with beta_i = beta(i / N) / N, to beta^2 / N."""
    schedule, n = VariancePreserving(sigma_data=1.0), 200_000
    beta = (0.1 + np.arange(1, n + 1) / n * 19.9) / n
    alpha_bar = np.cumprod(1 - beta)
    for tau in (0.01, 0.3, 1.0):
        sigma = schedule.sigma(jnp.asarray((tau - 1e-3) / (1 - 1e-3)))
        np.testing.assert_allclose(sigma, np.sqrt(1 / alpha_bar[round(tau * n) - 1] - 1), rtol=2e-3)
    np.testing.assert_allclose(schedule.sigma_max, np.sqrt(np.expm1(19.9 / 2 + 0.1)), rtol=1e-13)  # EDM, table 1
    np.testing.assert_allclose(VariancePreserving().sigma_max, 0.25 * schedule.sigma_max)


def test_cosine_is_the_paper_s_alpha_bar():
    schedule = Cosine(sigma_data=1.0, sigma_min=0.01, sigma_max=50.0)

    def paper(tau):
        f = np.cos((tau + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.sqrt(np.cos(0.008 / 1.008 * np.pi / 2) ** 2 / f - 1)

    # Evenly in the paper's time: three levels whose times are a, (a + b) / 2, b.
    tau = np.linspace(0.0, 1.0, 1_000_001)[:-1]
    level = paper(tau)
    a, b = np.interp([0.01, 50.0], level, tau)
    np.testing.assert_allclose(schedule.sigma(jnp.asarray(0.5)), paper((a + b) / 2), rtol=1e-5)


def test_straight_and_angle_are_tau_and_trigflow_s_time():
    for shift in (1.0, 3.0):
        schedule = Straight(0.5, shift, 0.5 * 0.01 / 0.99, 0.5 * 0.9 / 0.1)  # tau from 0.01 to 0.9 where shift is 1
        low, high = (ratio / (ratio + shift) for ratio in (0.01 / 0.99, 9.0))
        tau = low + np.linspace(0, 1, 5) * (high - low)
        tau = shift * tau / (1 + (shift - 1) * tau)  # Esser et al., eq. 23
        np.testing.assert_allclose(schedule.sigma(jnp.linspace(0, 1, 5)), 0.5 * tau / (1 - tau), rtol=1e-12)
    angle = Angle(0.5, 0.5 * np.tan(0.1), 0.5 * np.tan(1.5))
    np.testing.assert_allclose(angle.sigma(jnp.asarray(0.5)), 0.5 * np.tan(0.8), rtol=1e-12)


def test_levels_by_hand_are_the_grid_of_as_many_steps():
    np.testing.assert_array_equal(Levels((2.0, 0.5, 0.1)).grid(3), [2.0, 0.5, 0.1, 0.0])
    np.testing.assert_allclose(Levels((100.0, 1.0)).grid(3), [100, 10, 1, 0], rtol=1e-13)  # the geometric mean


@pytest.mark.parametrize("kind", [Karras, VarianceExploding, Cosine, Straight, Angle])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (1.0, float("inf"))], ids=str)
def test_upside_down_levels_are_errors(kind, ends):
    with pytest.raises(ValueError, match=f"{kind.__name__} wants 0 < sigma_min < sigma_max"):
        kind(sigma_min=ends[0], sigma_max=ends[1])


def test_other_impossible_settings_are_errors():
    for sigmas in ((), (1.0,), (1.0, 2.0), (1.0, 1.0), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match=r"Levels\.sigmas must be two or more levels that fall"):
            Levels(sigmas)
    for broken, message in (
        (lambda: Karras(rho=0.0), r"Karras\.rho must be above 0"),
        (lambda: VariancePreserving(beta_min=-1.0), r"VariancePreserving\.beta_min must be above 0"),
        (lambda: VariancePreserving(2.0, 1.0), "beta_min <= beta_max"),
        (lambda: VariancePreserving(t_min=1.0), r"t_min must lie between 0 and 1"),
        (lambda: Cosine(offset=0.0), r"Cosine\.offset must be above 0"),
        (lambda: Straight(shift=-1.0), r"Straight\.shift must be above 0"),
        (lambda: Angle(0.0), r"Angle\.sigma_data must be above 0"),
        (lambda: LogNormal(std=0.0), r"LogNormal\.std must be above 0"),
        (lambda: LogitNormal(std=0.0), r"LogitNormal\.std must be above 0"),
        (lambda: LogUniform(1.0, 0.1), "LogUniform wants 0 < low < high"),
    ):
        with pytest.raises(ValueError, match=message):
            broken()


# ------------------------------------------------------------------------------- training distributions


@by_levels
def test_quantile_and_probability_are_inverse(levels):
    u = jnp.linspace(0.001, 0.999, 101)
    np.testing.assert_allclose(levels.probability(levels.quantile(u)), u, rtol=1e-12, atol=3e-14)
    assert (np.diff(levels.quantile(u)) > 0).all()


@by_levels
def test_draws_have_the_declared_distribution(levels, key):
    n = 40_000
    # Kolmogorov: sqrt(n) max |F_n - F| exceeds 2.23 with probability 1e-4.
    u = np.sort(levels.probability(levels(key, n)))
    assert np.sqrt(n) * np.abs(u - (np.arange(n) + 0.5) / n).max() < 2.23


@by_levels
def test_draws_with_a_key_each_do_not_know_their_neighbours(levels, key):
    keys = jax.random.split(key, 5)
    np.testing.assert_array_equal(levels(keys, 5)[2:4], levels(keys[2:4], 2))
    assert len(set(np.asarray(levels(keys, 5)))) == 5


def test_log_normal_has_its_moments(key):
    levels, n = LogNormal(mean=-0.7, std=1.3), 40_000
    log = np.log(levels(key, n))
    # Standard errors: std / sqrt(n) for the mean, std / sqrt(2 n) for the deviation.
    assert abs(log.mean() + 0.7) < 4 * 1.3 / np.sqrt(n)
    assert abs(log.std() - 1.3) < 4 * 1.3 / np.sqrt(2 * n)
    np.testing.assert_allclose(levels.quantile(jnp.asarray([0.5])), np.exp(-0.7))  # the median
    # one standard deviation above it: Phi(1), tabulated
    np.testing.assert_allclose(levels.probability(jnp.exp(jnp.asarray([-0.7 + 1.3]))), 0.841344746068543)


def test_logit_normal_is_normal_in_the_logit_of_tau_and_log_normal_in_sigma():
    u = jnp.linspace(0.01, 0.99, 9)
    sigma = LogitNormal(0.4, 0.8, 0.3).quantile(u)
    tau = sigma / (sigma + 0.3)
    np.testing.assert_allclose(np.log(tau / (1 - tau)), 0.4 + 0.8 * jax.scipy.special.ndtri(u), rtol=1e-12)
    np.testing.assert_allclose(sigma, LogNormal(0.4 + np.log(0.3), 0.8).quantile(u), rtol=1e-12)


def test_log_uniform_and_in_time_are_what_they_say():
    np.testing.assert_allclose(LogUniform(0.1, 10.0).quantile(jnp.asarray([0.0, 0.5, 1.0])), [0.1, 1, 10], rtol=1e-12)
    u = jnp.linspace(0.1, 0.9, 5)
    np.testing.assert_array_equal(InTime(Angle()).quantile(u), Angle().sigma(u))
    np.testing.assert_allclose(InTime(VarianceExploding(0.1, 10.0)).quantile(u), LogUniform(0.1, 10.0).quantile(u))
