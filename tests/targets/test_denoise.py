"""The exact denoiser is where the loss is least: its error is orthogonal to every function of x_t."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.targets.denoise import Denoise
from restore_jax.testing.gaussian import GaussianWorld

N = 20_000


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


def supervision(world):
    key_x, key = jax.random.split(jax.random.key(1))
    x = world.sample(key_x, N)
    return Denoise(LogNormal(std=0.6))(key, lambda *_: None, TrainState(0, {}, {}, (), key), Observation(y=x), x)


TESTS = {
    "constant": lambda x_t, sigma: jnp.ones_like(x_t),
    "linear": lambda x_t, sigma: x_t - 0.5,
    "bounded": lambda x_t, sigma: jnp.sin(5 * x_t),
    "of the level": lambda x_t, sigma: (x_t - 0.5) / (0.1 + sigma[:, None, None, None]),
}


def z_scores(said, estimate) -> np.ndarray:
    """`E[weight (target - estimate) g(x_t)]` in standard errors, for each test function g."""
    scores = []
    for g in TESTS.values():
        off = (said.target - estimate) * g(*said.inputs)
        each = np.asarray(said.weight * off.mean((1, 2, 3)), np.float64)
        scores.append(each.mean() / each.std() * np.sqrt(N))
    return np.abs(scores)


def test_the_exact_denoiser_is_stationary(world):
    said = supervision(world)
    assert (z_scores(said, world.denoise(*said.inputs)) < 4).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda world, x_t, sigma: world.denoise(x_t, 1.1 * sigma),
        lambda world, x_t, sigma: world.consistency(x_t, sigma),
        lambda world, x_t, sigma: world.denoise(x_t, sigma) + 0.01,
    ],
    ids=["of another level", "consistency", "shifted"],
)
def test_a_wrong_denoiser_is_not(world, wrong):
    said = supervision(world)
    assert z_scores(said, wrong(world, *said.inputs)).max() > 8


def test_the_inputs_carry_noise_of_their_level(world):
    said = supervision(world)
    noise = np.asarray((said.inputs[0] - said.target) / said.inputs[1][:, None, None, None], np.float64)
    # standard errors: 1 / sqrt(n) for a mean, sqrt(2 / n) for a mean of squares
    assert abs(noise.mean()) < 4 / np.sqrt(8 * N)
    assert abs((noise**2).mean() - 1) < 4 * np.sqrt(2 / (8 * N))
    level = np.log(said.inputs[1])
    for statistic in (noise.mean((1, 2, 3)), (noise**2).mean((1, 2, 3))):
        assert abs(np.corrcoef(level, statistic)[0, 1]) < 4 / np.sqrt(N)
    assert abs(level.mean() + 1.2) < 4 * 0.6 / np.sqrt(N)
