"""The same question and answer as denoising; what is flow matching's own is the weight, and the levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion import precondition
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.targets.flow import Flow
from restore_jax.testing.gaussian import GaussianWorld

N = 20_000
D = 0.3


def supervision(x, target):
    key = jax.random.key(1)
    return target(key, lambda *_: None, TrainState(0, {}, {}, (), key), Observation(y=x), x)


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


@pytest.mark.parametrize("sigma_data", [0.1, 0.4])
def test_the_weighted_error_in_x_is_the_error_in_velocity(key, sigma_data):
    """`|F - (n - z_0)|^2`, with the path and its velocity written in the variables of the paper."""
    with jax.enable_x64(True):
        x = jax.random.uniform(key, (64, 2, 2, 3), jnp.float64)
        said = supervision(x, Flow(LogNormal(-1.0, 1.0), sigma_data))
        x_t, sigma = said.inputs
        raw = jax.random.normal(key, x.shape, jnp.float64)
        estimate = precondition.Flow(sigma_data).to_x(raw, x_t, sigma, Observation(y=x))
        wide = np.asarray(sigma)[:, None, None, None]
        z_0, noise = (np.asarray(x) - 0.5) / sigma_data, np.asarray(x_t - x) / wide
        velocity_error = np.sum((raw - (noise - z_0)) ** 2, axis=(1, 2, 3))
        weighted = said.weight * jnp.sum((estimate - said.target) ** 2, axis=(1, 2, 3))
        # n is a difference over sigma > 1e-3: some 1e-13 of rounding
        np.testing.assert_allclose(weighted, velocity_error, rtol=1e-10)
        # and what the network sees is the point on the straight line between z_0 and n
        tau = wide / (wide + sigma_data)
        seen, told, _ = precondition.Flow(sigma_data, sees=()).to_net(x_t, sigma, Observation(y=x))
        np.testing.assert_allclose(seen, (1 - tau) * z_0 + tau * noise, atol=1e-10)
        assert told is not None
        np.testing.assert_allclose(told, tau[:, 0, 0, 0], rtol=1e-12)


def z_score(said, estimate) -> float:
    """`E[weight (target - estimate) (x_t - 1/2)]` in standard errors."""
    off = (said.target - estimate) * (said.inputs[0] - 0.5)
    each = np.asarray(said.weight * off.mean((1, 2, 3)), np.float64)
    return abs(each.mean() / each.std()) * np.sqrt(N)


def test_the_exact_denoiser_is_stationary_and_another_is_not(world):
    said = supervision(world.sample(jax.random.key(3), N), Flow(LogNormal(-1.2, 0.6), D))
    x_t, sigma = said.inputs
    assert z_score(said, world.denoise(x_t, sigma)) < 4
    assert z_score(said, world.denoise(x_t, 1.2 * sigma)) > 8


def test_the_default_levels_are_logit_normal_in_time(world):
    target = Flow()
    said = supervision(world.sample(jax.random.key(3), N), target)
    tau = np.asarray(said.inputs[1] / (said.inputs[1] + target.sigma_data), np.float64)
    logit = np.log(tau / (1 - tau))
    assert abs(logit.mean()) < 4 / np.sqrt(N)
    assert abs(logit.std() - 1) < 4 / np.sqrt(2 * N)


def test_no_deviation_is_an_error():
    with pytest.raises(ValueError, match=r"Flow\.sigma_data must be above 0, not 0"):
        Flow(sigma_data=0.0)
