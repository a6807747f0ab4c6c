import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.diffusion import guidance
from restore_jax.diffusion.guidance import Threshold
from restore_jax.testing.gaussian import GaussianWorld

OBS = Observation(y=jnp.zeros((2, 3, 2, 2)))


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (3, 2, 2))


@pytest.mark.parametrize("spec", guidance.EXAMPLES, ids=str)
def test_guided_denoiser_is_a_denoiser(world, key, spec):
    x_t = world.sample(key, 2)
    guided = build(spec)(world.denoise, OBS)
    for sigma in (jnp.asarray(0.3), jnp.asarray([0.3, 0.0])):
        assert guided(x_t, sigma).shape == x_t.shape


def test_threshold_clips_what_leaves_and_keeps_what_stays(world, key):
    x_t, sigma = world.sample(key, 2), jnp.asarray(0.05)
    plain = world.denoise(x_t, sigma)
    guided = Threshold(0.3, 0.7)(world.denoise, OBS)(x_t, sigma)
    np.testing.assert_array_equal(guided, np.minimum(np.maximum(plain, np.float32(0.3)), np.float32(0.7)))
    assert (plain < 0.3).any()
    assert (plain > 0.7).any()
    wide = Threshold(-10.0, 10.0)(world.denoise, OBS)(x_t, sigma)
    np.testing.assert_array_equal(wide, plain)
