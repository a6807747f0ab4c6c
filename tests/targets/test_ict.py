"""The paper's curriculum and levels against plain numpy; the bias of the answer against a closed form.

As for `targets.ect`: the mean answer given x_s is that of one Euler step of the exact teacher,
`f(x_s + (t - s) slope(x_s, s), t)`, for any f that is affine in x.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.schedule import Karras, LogNormal
from restore_jax.diffusion.solver import slope
from restore_jax.targets.ict import Ict
from restore_jax.testing.gaussian import GaussianWorld

N = 20_000
TARGET = Ict(Karras(0.01, 2.0), LogNormal(-1.0, 1.0), total_steps=50, s0=4, s1=64)  # K' = 10


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2), low=0.05)


def supervision(world, step, target=TARGET):
    """One batch at this training step, from the exact consistency function; and t of every question."""
    key = jax.random.key(1)
    x = world.sample(jax.random.key(2), N)
    state = TrainState(jnp.asarray(step), {}, None, (), key)
    said = target(key, lambda _, x, sigma, obs: world.consistency(x, sigma), state, Observation(y=x), x)
    return said, np.asarray(said.inputs[1] - 1 / said.weight)  # the weight is 1 / (s - t)


@pytest.mark.parametrize(("total", "s0", "s1"), [(1000, 10, 1280), (50, 4, 64), (97, 3, 20), (10, 2, 2)])
def test_the_curriculum_is_the_paper_s(total, s0, s1):
    """Song & Dhariwal 2023, section 3.4: N(k) = min(s0 2^floor(k / K'), s1) + 1 levels, n = N - 1 of them above 0."""
    target = Ict(total_steps=total, s0=s0, s1=s1)
    every = int(total / (np.log2(s1 // s0) + 1))
    steps = np.unique([0, every - 1, every, 2 * every, 3 * every - 1, total // 2, total - 1, total, 10 * total])
    for k in steps:
        assert int(target.intervals(jnp.asarray(k))) == min(s0 * 2 ** int(k // every), s1)
    assert int(target.intervals(jnp.asarray(2_000_000_000))) == s1  # and stays there, without overflow


@pytest.mark.parametrize("step", [0, 25])
def test_levels_are_neighbours_as_often_as_the_paper_says(world, step):
    """Section 3.5: the weight of (sigma_i, sigma_i+1) is a difference of two error functions, for ln sigma normal."""
    n = {0: 4, 25: 16}[step]
    said, t = supervision(world, step)
    grid = np.asarray(TARGET.schedule.grid(n))[::-1]  # rising from 0
    index = np.abs(np.asarray(said.inputs[1])[:, None] - grid[None, 1:]).argmin(1)
    np.testing.assert_allclose(said.inputs[1], grid[index + 1], rtol=1e-12)
    np.testing.assert_allclose(t, grid[index], atol=1e-12)
    with np.errstate(divide="ignore"):
        below = erf((np.log(grid) + 1.0) / (np.sqrt(2) * 1.0))
    share = np.diff(below) / (below[-1] - below[0])
    count = np.bincount(index, minlength=n)
    assert (np.abs(count - N * share) <= 4 * np.sqrt(N * share * (1 - share))).all()  # binomial


def z_scores(said, estimate) -> np.ndarray:
    """`E[(target - estimate) g(x_s)]` in standard errors, for several g: 0 for each iff the means agree given x_s."""
    x_s, _ = said.inputs
    scores = []
    for g in (jnp.ones_like(x_s), x_s - 0.5, jnp.sin(5 * x_s), jnp.abs(x_s - 0.5)):
        each = np.asarray(((said.target - estimate) * g).mean((1, 2, 3)), np.float64)
        scores.append(each.mean() / each.std() * np.sqrt(N))
    return np.abs(scores)


def eulers(world, said, t):
    x_s, s = said.inputs
    return world.consistency(x_s + (t - s)[:, None, None, None] * slope(world.denoise, x_s, s), jnp.asarray(t))


def test_the_mean_answer_is_an_euler_step_s_whose_bias_falls_with_the_curriculum(world):
    """Error of second order in the step s - t ~ 1 / n, so that per unit of step (the weight) it vanishes as 1 / n."""
    biases = []
    for step in (0, 10, 20, 30, 40):
        said, t = supervision(world, step)
        assert (z_scores(said, eulers(world, said, t)) < 4).all()
        inner = np.asarray(t > 0)
        off = np.asarray(eulers(world, said, t) - world.consistency(*said.inputs))[inner]
        biases.append(np.sqrt(np.mean(off**2)))
    orders = -np.diff(np.log2(biases))
    assert (np.diff(np.abs(orders - 2)) < 0).all()  # finer grids come nearer to their order
    assert abs(orders[-1] - 2) < 0.1
    coarse, _ = supervision(world, 0)
    assert z_scores(coarse, world.consistency(*coarse.inputs)).max() > 8


def test_fresh_noise_for_the_answer_is_found(world):
    """Planted: a question that does not share its answer's noise."""
    said, t = supervision(world, 20)
    x = world.sample(jax.random.key(2), N)
    s = said.inputs[1]
    unshared = x + s[:, None, None, None] * jax.random.normal(jax.random.key(7), x.shape, x.dtype)
    assert z_scores(said.replace(inputs=(unshared, s)), eulers(world, said.replace(inputs=(unshared, s)), t)).max() > 8


def test_the_answer_is_of_the_parameters_and_at_the_lowest_level_the_photograph(world):
    key = jax.random.key(1)
    x = world.sample(key, 500)
    state = TrainState(jnp.asarray(0), "own", "average", (), key)
    asked = []

    def net(name, x_t, sigma, obs):
        asked.append(name)
        return world.consistency(x_t, sigma)

    low = replace(TARGET, levels=LogNormal(-4.0, 1.0))
    said = low(key, net, state, Observation(y=x), x)
    lowest = np.asarray(said.inputs[1] < 1.0001 * TARGET.schedule.sigma_min)
    assert asked == ["own"]
    assert lowest.any()
    np.testing.assert_allclose(said.target[lowest], x[lowest], atol=1e-12)


def test_a_finer_grid_is_no_new_program(world):
    x = world.sample(jax.random.key(2), 2)
    traced = []

    @jax.jit
    def supervise(key, step):
        traced.append(step)
        state = TrainState(step, {}, None, (), key)
        return TARGET(key, lambda _, x, sigma, obs: x, state, Observation(y=x), x).inputs[1]

    levels = [supervise(jax.random.key(0), jnp.asarray(step)) for step in (0, 15, 45)]
    assert len(traced) == 1
    assert np.abs(np.diff(levels, axis=0)).max() > 0


def test_settings_that_cannot_be_are_errors():
    with pytest.raises(ValueError, match=r"Ict wants 2 <= s0 <= s1.*not 1, 8"):
        Ict(s0=1, s1=8)
    with pytest.raises(ValueError, match=r"Ict.*not 16, 8"):
        Ict(s0=16, s1=8)
    with pytest.raises(ValueError, match=r"Ict\.total_steps must be at least 8.*not 7"):
        Ict(total_steps=7)
