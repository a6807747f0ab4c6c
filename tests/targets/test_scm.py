"""The tangent against the paper's own variables, and at its fixed points against 0.

With the exact slope the exact consistency function f does not change along a trajectory: its tangent is 0. In
training the slope is the noise n, whose mean given x_s is the exact slope; a tangent is linear in it.
"""

import inspect
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.precondition import Trig
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.metrics.pixel import Mse
from restore_jax.targets.scm import Scm
from restore_jax.testing.gaussian import GaussianWorld

D = 0.3
TRAINING = Scm(levels=LogNormal(-1.2, 1.0), sigma_data=D, warmup_steps=10, normalise=False)
DISTILLATION = replace(TRAINING, kind="distillation")


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2), low=0.05)


def supervision(world, target, student, step=10, n=2_000):
    @jax.jit
    def say(key, x):
        state = TrainState(jnp.asarray(step), student, None, (), key, {"teacher": "denoise"})
        return target(key, lambda name, x, sigma, obs: getattr(world, name)(x, sigma), state, Observation(y=x), x)

    return say(jax.random.key(1), world.sample(jax.random.key(2), n))


def pull(said, answer) -> np.ndarray:
    """The tangent, from how far the target is from the answer: `target = answer - c_out tangent`."""
    return np.asarray((answer - said.target) * jnp.sqrt(said.weight)[:, None, None, None])


@pytest.mark.parametrize("normalise", [False, pytest.param(True, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("step", "fixed", "not_fixed"), [(10, "consistency", "denoise"), (0, "denoise", "consistency")]
)
def test_the_fixed_point_of_distillation_is_exact(world, step, fixed, not_fixed, normalise):
    """After warm-up the consistency function, at its start the teacher itself; to rounding, picture by picture."""
    target = replace(DISTILLATION, normalise=normalise)
    said = supervision(world, target, fixed, step)
    np.testing.assert_allclose(said.target, getattr(world, fixed)(*said.inputs), atol=1e-12)
    other = supervision(world, target, not_fixed, step)
    assert np.abs(other.target - getattr(world, not_fixed)(*other.inputs)).mean() > 1e-3


def z_scores(said, tangent) -> np.ndarray:
    """`E[tangent g(x_s)]` in standard errors, for several g: 0 for each iff the mean tangent given x_s is 0."""
    x_s, _ = said.inputs
    scores = []
    for g in (jnp.ones_like(x_s), x_s - 0.5, jnp.sin(5 * x_s), jnp.abs(x_s - 0.5)):
        each = (tangent * np.asarray(g)).mean((1, 2, 3))
        scores.append(each.mean() / each.std() * np.sqrt(len(each)))
    return np.abs(scores)


@pytest.mark.parametrize(
    ("step", "fixed", "not_fixed"), [(10, "consistency", "denoise"), (0, "denoise", "consistency")]
)
def test_the_fixed_point_of_training_is_exact_in_the_mean(world, step, fixed, not_fixed):
    target = replace(TRAINING, levels=LogNormal(-1.2, 0.5))
    said = supervision(world, target, fixed, step, n=20_000)
    tangent = pull(said, world.consistency(*said.inputs) if fixed == "consistency" else world.denoise(*said.inputs))
    assert (z_scores(said, tangent) < 4).all()
    assert np.abs(tangent).mean() > 1e-2  # in the mean only
    other = supervision(world, target, not_fixed, step, n=20_000)
    wrong = world.denoise(*other.inputs) if fixed == "consistency" else world.consistency(*other.inputs)
    assert z_scores(other, pull(other, wrong)).max() > 8


def raw(x, t):
    """A network F of its input x_trig / d and of the angle."""
    mixed = 0.7 * x - 0.4 * np.roll(x, 1, axis=-1) + 0.2 * t[:, None, None, None]
    return np.tanh(mixed) + 0.3 * np.sin(2 * t)[:, None, None, None] * x


@pytest.mark.parametrize("step", [3, 25, *(pytest.param(n, marks=pytest.mark.soak) for n in (0, 10))])
def test_the_tangent_is_the_paper_s(world, key, step):
    """Lu & Song 2024, algorithm 1, in its own variables, derivatives by central differences in the angle."""
    x = world.sample(jax.random.key(2), 32)
    trigflow = Trig(D, sees=())

    def net(_, x_s, sigma, obs):
        inputs, t, _ = trigflow.to_net(x_s, sigma, obs)
        assert t is not None
        mixed = 0.7 * inputs - 0.4 * jnp.roll(inputs, 1, axis=-1) + 0.2 * t[:, None, None, None]
        out = jnp.tanh(mixed) + 0.3 * jnp.sin(2 * t)[:, None, None, None] * inputs
        return trigflow.to_x(out, x_s, sigma, obs)

    obs = Observation(y=x)
    state = TrainState(jnp.asarray(step), {}, None, (), key)
    said = TRAINING(jax.random.key(1), net, state, obs, x)
    x_s, s = map(np.asarray, said.inputs)
    wide = s[:, None, None, None]
    z, x_0 = D * (x_s - np.asarray(x)) / wide, np.asarray(x) - 0.5

    def trig(t):  # the point of the path at the angle t
        return np.cos(t) * x_0 + np.sin(t) * z

    t, h = np.arctan(wide / D), 1e-5
    along = [raw(trig(angle) / D, angle[:, 0, 0, 0]) for angle in (t - h, t, t + h)]
    change = (along[2] - along[0]) / (2 * h)
    velocity = np.cos(t) * z - np.sin(t) * x_0
    warm = min(1, step / 10)
    g = -(np.cos(t) ** 2) * (D * along[1] - velocity) - warm * np.cos(t) * np.sin(t) * (trig(t) + D * change)

    def told(target):  # what the raw output should have been
        return np.asarray(trigflow.from_x(target, jnp.asarray(x_s), jnp.asarray(s), obs))

    # central differences err by h^2 = 1e-10 and by 1e-16 / h = 1e-11, times derivatives of some units
    np.testing.assert_allclose(told(said.target) - along[1], g, atol=1e-7)
    normalised = replace(TRAINING, normalise=True)(jax.random.key(1), net, state, obs, x)
    length = np.sqrt((g**2).sum((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(told(normalised.target) - along[1], np.sqrt(8) * g / (length + 0.1), atol=1e-6)
    # the weighted error in x is the error of the raw output, unweighted
    estimate = net(None, said.inputs[0], said.inputs[1], obs)
    weighted = said.weight * Mse()(estimate, said.target)
    np.testing.assert_allclose(weighted, (g**2).mean((1, 2, 3)), atol=1e-7)


def test_normalised_the_pull_is_bounded_whatever_the_tangent(world):
    """Planted: no normalisation, where a network that changes quickly with the level pulls without bound."""

    def wild(_, x_s, sigma, obs):
        return x_s + sigma[:, None, None, None] * jnp.sin(1e4 * sigma)[:, None, None, None]

    key = jax.random.key(1)
    x = world.sample(key, 200)
    state = TrainState(jnp.asarray(10), {}, None, (), key)
    sizes = {}
    for normalise in (False, True):
        said = replace(TRAINING, normalise=normalise)(key, wild, state, Observation(y=x), x)
        sizes[normalise] = np.sqrt((pull(said, wild(None, *said.inputs, None)) ** 2).mean((1, 2, 3)))
    assert sizes[True].max() < 1
    assert np.median(sizes[True]) > 0.9  # and there is one: |g| / (|g| + c)
    assert np.median(sizes[False]) > 100


def test_settings_that_cannot_be_are_errors(world, key):
    with pytest.raises(ValueError, match=r"Scm\.kind is 'training' or 'distillation', not 'tuning'"):
        inspect.unwrap(Scm.__post_init__)(SimpleNamespace(kind="tuning"))  # tests' type checker would refuse it first
    with pytest.raises(ValueError, match=r"Scm\.c must be above 0, not 0"):
        Scm(c=0.0)
    with pytest.raises(ValueError, match=r"Scm\.sigma_data must be above 0, not -1"):
        Scm(sigma_data=-1.0)
    with pytest.raises(ValueError, match=r"Scm\.warmup_steps must be at least 0.*not -5"):
        Scm(warmup_steps=-5)
    x = world.sample(key, 2)
    with pytest.raises(ValueError, match="teacher"):
        DISTILLATION(key, lambda *_: x, TrainState(0, {}, {}, (), key), Observation(y=x), x)
