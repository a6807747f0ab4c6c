"""Easy consistency tuning in the Gaussian world, where its bias has a closed form.

The answer is f(x_r, r) at x_r = x_s + (r - s) n. What n was cannot be seen from x_s, but its mean can,
`E[n | x_s] = (x_s - D(x_s, s)) / s`, the slope of the flow; so for an f that is affine in x,

    E[f(x_r, r) | x_s] = f(x_s + (r - s) slope(x_s, s), r):

one Euler step of the exact teacher, seen by f. The consistency function of this world is affine.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.diffusion.solver import slope
from restore_jax.targets.ect import Ect
from restore_jax.testing.gaussian import GaussianWorld

N = 20_000
S = 0.4


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


def supervision(world, stage):
    """`N` answers to questions at the one level S, and the level r they were given at."""
    target = Ect(LogNormal(np.log(S), 1e-9), stage_steps=1)
    key_x, key = jax.random.split(jax.random.key(1))
    x = world.sample(key_x, N)
    state = TrainState(jnp.asarray(stage), {}, {}, (), key)
    said = target(key, lambda _, x, sigma, obs: world.consistency(x, sigma), state, Observation(y=x), x)
    np.testing.assert_allclose(said.inputs[1], np.full(N, S), rtol=1e-6)
    return said, target.earlier(said.inputs[1], stage)


def z_scores(said, estimate) -> np.ndarray:
    """`E[(target - estimate) g(x_s)]` in standard errors, for several g: 0 for each iff the means agree given x_s."""
    x_s, _ = said.inputs
    scores = []
    for g in (jnp.ones_like(x_s), x_s - 0.5, jnp.sin(5 * x_s), jnp.abs(x_s - 0.5)):
        each = np.asarray(((said.target - estimate) * g).mean((1, 2, 3)), np.float64)
        scores.append(each.mean() / each.std() * np.sqrt(N))
    return np.abs(scores)


def eulers(world, said, r):
    x_s, s = said.inputs
    return world.consistency(x_s + (r - s)[:, None, None, None] * slope(world.denoise, x_s, s), r)


@pytest.mark.parametrize("stage", [0, 2, 3, 6])
def test_the_mean_answer_is_an_euler_step_s(world, stage):
    said, r = supervision(world, stage)
    assert (z_scores(said, eulers(world, said, r)) < 4).all()


def test_a_wide_gap_is_biased_and_a_narrow_one_is_not(world):
    """The mean answer is not the consistency function while the step is long, and is when it is short."""
    scores, gaps, biases = [], [], []
    for stage in (3, 4, 5, 6, 7, 8):
        said, r = supervision(world, stage)
        exact = world.consistency(*said.inputs)
        scores.append(z_scores(said, exact).max())
        gaps.append(float((S - r)[0]))
        biases.append(float(jnp.sqrt(jnp.mean((eulers(world, said, r) - exact) ** 2))))
    assert scores[0] > 8
    assert scores[-1] < 4
    # An Euler step's error is of second order in the gap, so the pull per unit of gap (weight 1 / gap) vanishes.
    order = np.polyfit(np.log(gaps[2:]), np.log(biases[2:]), 1)[0]
    assert abs(order - 2) < 0.15


def test_stage_zero_is_diffusion(world):
    """r = 0, where a consistency function is the identity: the answer is the photograph itself."""
    said, r = supervision(world, 0)
    np.testing.assert_array_equal(r, np.zeros(N))
    x = world.sample(jax.random.split(jax.random.key(1))[0], N)
    np.testing.assert_allclose(said.target, x, atol=1e-5)


def test_fresh_noise_for_the_answer_is_found(world):
    """Planted: a question that does not share its answer's noise."""
    said, r = supervision(world, 3)
    x = world.sample(jax.random.split(jax.random.key(1))[0], N)
    unshared = x + S * jax.random.normal(jax.random.key(7), x.shape)
    said = said.replace(inputs=(unshared, said.inputs[1]))
    assert z_scores(said, eulers(world, said, r)).max() > 8


LEVELS = jnp.asarray(np.geomspace(1e-4, 80, 200), jnp.float32)


@pytest.mark.parametrize(
    "target", [Ect(stage_steps=10), Ect(q=4.0, k=2.0, b=5.0, stage_steps=10, max_stage=5)], ids=str
)
def test_earlier_is_earlier_and_moves_up_with_the_stage(target):
    before = np.zeros(200, np.float32)
    for stage in range(12):
        r = np.asarray(target.earlier(LEVELS, 10 * stage + 3))
        assert (r >= 0).all()
        assert (r < LEVELS).all()
        assert np.isfinite(1 / (np.asarray(LEVELS) - r)).all()
        assert (r >= before).all()
        assert (stage == 0) == (r == 0).all() or stage < 3  # gaps of up to 9 times q^-stage still reach 0
        before = r
    last = target.earlier(LEVELS, 10 * target.max_stage)
    np.testing.assert_array_equal(before, last)  # and there it stays
    np.testing.assert_array_equal(target.earlier(LEVELS, jnp.asarray(73)), target.earlier(LEVELS, 73))


def test_earlier_is_the_paper_s():
    """Geng et al. 2024, eq. 10: r / s = 1 - n(s) / q^a, n(s) = 1 + k sigmoid(-b s), clipped at 0."""
    target = Ect(q=2.0, k=8.0, b=1.0, stage_steps=10)
    for s, a in ((0.1, 4), (1.0, 3), (5.0, 1), (5.0, 6), (0.1, 1)):
        gap = 1 + 8 / (1 + np.exp(s))
        r = target.earlier(jnp.asarray([s], jnp.float32), 10 * a)
        np.testing.assert_allclose(r, [s * max(0.0, 1 - gap / 2**a)], rtol=1e-5)


def test_the_weight_is_one_over_the_gap(world):
    said, r = supervision(world, 4)
    # s - r is gap / q^a = 1 / 3 of s: a few roundings
    np.testing.assert_allclose(said.weight, 1 / (said.inputs[1] - r), rtol=1e-5)


def test_levels_are_drawn_from_levels(world):
    wide = replace(Ect(stage_steps=1), levels=LogNormal(-1.0, 0.5))
    x = world.sample(jax.random.key(0), N)
    state = TrainState(jnp.asarray(5), {}, {}, (), jax.random.key(0))
    said = wide(jax.random.key(0), lambda _, x, sigma, obs: x, state, Observation(y=x), x)
    log = np.log(said.inputs[1])
    assert abs(log.mean() + 1) < 4 * 0.5 / np.sqrt(N)
    assert abs(log.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * N)
