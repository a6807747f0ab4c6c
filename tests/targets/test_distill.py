"""The exact consistency function is the fixed point of distillation, to the order of the teacher's step.

Parameters are the name of a map of the Gaussian world: the teacher is its "denoise", the average its "consistency".
"""

import jax
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, TrainState
from restore_jax.diffusion import solver
from restore_jax.diffusion.schedule import Karras
from restore_jax.targets.distill import ConsistencyDistillation
from restore_jax.testing.gaussian import GaussianWorld

N = 4_000
SCHEDULE = Karras(0.05, 2.0)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2), low=0.05)


def supervision(world, target, ema="consistency", student="student"):
    key = jax.random.key(1)

    def net(name, x, sigma, obs):
        return getattr(world, name)(x, sigma)

    x = world.sample(key, N)
    state = TrainState(0, student, ema, (), key, {"teacher": "denoise"})
    return target(key, net, state, Observation(y=x), x)


def residual(world, target, **state) -> np.ndarray:
    """`target - f(x_s, s)`, by picture, but for those whose next level is 0."""
    said = supervision(world, target, **state)
    inner = np.asarray(said.inputs[1]) > 1.0001 * SCHEDULE.sigma_min
    return np.asarray(said.target - world.consistency(*said.inputs))[inner]


def local_order(world, step) -> float:
    coarse, fine = (
        np.sqrt(np.mean(residual(world, ConsistencyDistillation(SCHEDULE, n, step)) ** 2)) for n in (32, 64)
    )
    return np.log2(coarse / fine)


@pytest.mark.parametrize("spec", solver.ONE_STEP, ids=str)
def test_the_consistency_function_is_fixed_to_the_order_of_one_step(world, spec):
    """A solver of order p errs by h^(p+1) in one step, and h ~ 1 / n_levels; f carries the error to 0 unchanged.

    Levels are drawn anew for either grid: the mean of N squares, heavy at the ends, is known to some 5 %, which is
    0.05 in the slope; the next order in h = ln(40) / 32 adds as much.
    """
    step = build(spec)
    assert abs(local_order(world, step) - (step.order + 1)) < 0.25


def test_a_step_to_zero_is_the_teacher_s_own_answer(world):
    said = supervision(world, ConsistencyDistillation(SCHEDULE, 1))
    np.testing.assert_allclose(said.inputs[1], np.full(N, SCHEDULE.sigma_max), rtol=1e-12)
    np.testing.assert_allclose(said.target, world.denoise(*said.inputs), atol=1e-12)


def test_with_an_exact_teacher_the_fixed_point_is_exact(world):
    def exact(key, denoise, x, s, t):
        return world.flow(x, s, t)

    for n in (1, 8):
        said = supervision(world, ConsistencyDistillation(SCHEDULE, n, exact))
        np.testing.assert_allclose(said.target, world.consistency(*said.inputs), atol=1e-13)


def test_what_is_not_constant_along_trajectories_is_not_fixed(world):
    """The denoiser in the average's place: its distance to the fixed point falls with the step only, as h."""
    target = ConsistencyDistillation(SCHEDULE, 16, lambda key, denoise, x, s, t: world.flow(x, s, t))
    said = supervision(world, target, ema="denoise")
    assert np.abs(said.target - world.denoise(*said.inputs)).mean() > 1e-3
    # and it is the average that answers, not the student
    for student in ("denoise", "consistency"):
        np.testing.assert_array_equal(supervision(world, target, ema="denoise", student=student).target, said.target)


def test_fresh_noise_for_the_answer_is_found(world):
    """Planted: a step that forgets where it came from."""

    def forgetful(key, denoise, x, s, t):
        fresh = jax.random.normal(jax.random.key(5), x.shape, x.dtype)
        return denoise(x, s) + t[:, None, None, None] * fresh

    assert local_order(world, forgetful) < 1


def test_levels_are_neighbours_drawn_evenly(world):
    n, seen = 5, []

    def spy(key, denoise, x, s, t):
        seen.append((s, t))
        return x

    real = jax.random.split(jax.random.key(2), N)
    target = ConsistencyDistillation(SCHEDULE, n, spy)
    state = TrainState(0, {}, {}, (), jax.random.key(0), {"teacher": {}})
    said = target(real, lambda _, x, s, obs: x, state, Observation(y=None), world.sample(jax.random.key(3), N))
    ((s, t),) = seen
    grid = np.asarray(SCHEDULE.grid(n))
    index = np.abs(np.asarray(s)[:, None] - grid[None, :-1]).argmin(1)
    np.testing.assert_array_equal(said.inputs[1], s)
    np.testing.assert_array_equal(s, grid[index])
    np.testing.assert_array_equal(t, grid[index + 1])
    count = np.bincount(index, minlength=n)
    assert (np.abs(count - N / n) < 4 * np.sqrt(N / n * (1 - 1 / n))).all()  # binomial
    np.testing.assert_array_equal(said.weight, np.ones(N))


def test_no_teacher_is_an_error(world, key):
    state = TrainState(0, {}, {}, (), key)
    x = world.sample(key, 2)
    with pytest.raises(ValueError, match="teacher"):
        ConsistencyDistillation()(key, lambda *_: x, state, Observation(y=x), x)
