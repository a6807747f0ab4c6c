"""The student's one step is the teacher's two: with an exact teacher the flow's own chord.

Parameters are the name of a map of the Gaussian world: the teacher is its "denoise".
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.sampler import Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler, answer, jump
from restore_jax.targets.progressive import Nested, ProgressiveDistillation
from restore_jax.testing.gaussian import GaussianWorld

N = 4_000
D = 0.3
SCHEDULE = Karras(0.02, 3.0)


def exact(world):
    return lambda key, denoise, x, s, t: world.flow(x, s, t)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2), low=0.05)


def supervision(world, n_steps, step, n=N):
    """One batch; and for each of its questions the levels m and t that its answer passes and reaches."""
    key = jax.random.key(1)
    x = world.sample(jax.random.key(2), n)
    state = TrainState(0, "student", "average", (), key, {"teacher": "denoise"})
    target = ProgressiveDistillation(SCHEDULE, n_steps, step, D)
    said = target(key, lambda name, x, sigma, obs: getattr(world, name)(x, sigma), state, Observation(y=x), x)
    fine = np.asarray(Nested(SCHEDULE).grid(2 * n_steps))
    index = np.abs(np.asarray(said.inputs[1])[:, None] - fine[None, :-1:2]).argmin(1)
    np.testing.assert_array_equal(said.inputs[1], fine[2 * index])
    return said, jnp.asarray(fine[2 * index + 1]), jnp.asarray(fine[2 * index + 2]), index


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_grid_of_half_as_many_steps_is_every_other_level(n):
    coarse, fine = Nested(SCHEDULE).grid(n), Nested(SCHEDULE).grid(2 * n)
    np.testing.assert_allclose(coarse, fine[::2], rtol=1e-12)
    np.testing.assert_allclose(fine[0], SCHEDULE.sigma_max, rtol=1e-12)
    assert fine[-1] == 0
    # half-way in time; the last step's middle too, where time 0 would be sigma_min
    np.testing.assert_allclose(SCHEDULE.time(fine[1::2]), 1 - (np.arange(n) + 0.5) / n, rtol=1e-12)


def test_with_an_exact_teacher_the_students_step_is_the_flow_s(world):
    said, _, t, _ = supervision(world, 5, exact(world))
    x_s, s = said.inputs
    np.testing.assert_allclose(jump(said.target, x_s, s, t), world.flow(x_s, s, t), atol=1e-12)
    assert np.abs(said.target - world.denoise(x_s, s)).mean() > 1e-3  # it is no denoiser


def test_a_step_of_one_is_the_exact_sample(world):
    said, _, t, _ = supervision(world, 1, exact(world), n=50)
    np.testing.assert_array_equal(t, np.zeros(50))
    np.testing.assert_allclose(said.target, world.consistency(*said.inputs), atol=1e-12)


def test_target_and_weight_are_the_paper_s(world):
    """Salimans & Ho 2022, algorithm 2, in its own variables `z = a x + b n`, a^2 + b^2 = 1, x of deviation 1."""
    said, m, t, _ = supervision(world, 4, Euler(), n=200)
    x_s, s = said.inputs

    def signal(sigma):
        a = 1 / np.sqrt(1 + (np.asarray(sigma) / D) ** 2)[:, None, None, None]
        return a, np.sqrt(1 - a**2)

    def teacher(z, sigma):  # the estimate of x, from z
        a, _ = signal(sigma)
        return np.asarray(world.denoise(jnp.asarray(0.5 + D * z / a), sigma) - 0.5) / D

    def ddim(z, above, below):
        (a, b), (a_below, b_below), x = signal(above), signal(below), teacher(z, above)
        return a_below * x + b_below / b * (z - a * x)

    (a, b), (a_t, b_t) = signal(s), signal(t)
    z = a * np.asarray(x_s - 0.5) / D
    z_t = ddim(ddim(z, s, m), m, t)
    x = (z_t - b_t / b * z) / (a_t - b_t / b * a)
    np.testing.assert_allclose((said.target - 0.5) / D, x, atol=1e-10)
    np.testing.assert_allclose(said.weight * D**2, np.maximum(a**2 / b**2, 1)[:, 0, 0, 0], rtol=1e-10)


def test_one_step_of_the_teacher_for_two_is_found(world):
    """Planted: a teacher that is no finer than its student teaches its own answer."""
    said, _, t, _ = supervision(world, 4, Euler())
    x_s, s = said.inputs
    once = answer(Euler()(jax.random.key(0), world.denoise, x_s, s, t), x_s, s, t)
    np.testing.assert_allclose(once, world.denoise(x_s, s), atol=1e-10)
    chord = answer(world.flow(x_s, s, t), x_s, s, t)
    error_once, error_twice = (np.sqrt(np.mean((each - chord) ** 2)) for each in (once, said.target))
    assert error_twice < 0.75 * error_once  # a solver of order 1: about half


def test_a_student_that_has_learned_samples_as_its_teacher(world):
    """Through the sampler: its grid, its start and its last step are those that were distilled."""
    n, levels = 4, Nested(SCHEDULE).grid(4)

    def student(x, sigma):  # what the exact teacher taught it
        below = levels[jnp.argmin(jnp.abs(levels - sigma)) + 1]
        return answer(world.flow(x, sigma, below), x, sigma, below)

    noise = jax.random.normal(jax.random.key(3), (3, 2, 2, 2))
    obs = Observation(y=noise).with_cond(noise=noise)
    x_hat = Ode(Euler(), Nested(SCHEDULE), n)(jax.random.key(0), student, obs)
    start = 0.5 + SCHEDULE.sigma_max * noise
    np.testing.assert_allclose(x_hat, world.consistency(start, jnp.asarray(SCHEDULE.sigma_max)), atol=1e-10)


def test_levels_are_drawn_evenly(world):
    n = 5
    *_, index = supervision(world, n, exact(world))
    count = np.bincount(index, minlength=n)
    assert (np.abs(count - N / n) < 4 * np.sqrt(N / n * (1 - 1 / n))).all()  # binomial


def test_settings_that_cannot_be_are_errors(world, key):
    with pytest.raises(ValueError, match=r"ProgressiveDistillation\.n_steps.*not 0"):
        ProgressiveDistillation(n_steps=0)
    with pytest.raises(ValueError, match=r"ProgressiveDistillation\.sigma_data.*not 0"):
        ProgressiveDistillation(sigma_data=0.0)
    with pytest.raises(ValueError, match="at least 1 step"):
        Nested().grid(0)
    x = world.sample(key, 2)
    with pytest.raises(ValueError, match="teacher"):
        ProgressiveDistillation()(key, lambda *_: x, TrainState(0, {}, {}, (), key), Observation(y=x), x)
