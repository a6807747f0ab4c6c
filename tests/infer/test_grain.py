"""Grain has the deviation that was asked for, or a share of what was removed."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.infer.grain import Grain
from restore_jax.infer.samples import Samples
from restore_jax.methods.regression import Cubic

KEY = jax.random.key(0)
N = 64 * 64


@dataclass(frozen=True)
class Flat:
    """Grey, whatever was observed."""

    scale = 1
    draws = 0

    def __call__(self, key, obs):
        return jnp.full_like(obs.y, 0.5)


def test_given_deviation():
    obs = Observation(y=jnp.zeros((2, 64, 64, 3)))
    grain = Grain(Cubic(), 0.05)(KEY, obs)
    assert abs(float(grain[..., 0].std()) / 0.05 - 1) < 4 / (4 * N) ** 0.5  # four deviations of a deviation
    np.testing.assert_array_equal(grain[..., 0], grain[..., 2])  # without colour
    assert float(jnp.abs(grain[0] - grain[1]).max()) > 0.05
    np.testing.assert_array_equal(Grain(Cubic(), 0.0)(KEY, obs), obs.y)


def test_a_share_of_what_was_removed():
    """Pictures of noise 0.1 and 0.02, removed wholly: each gets half of its own back."""
    std = jnp.array([0.1, 0.02]).reshape(2, 1, 1, 1)
    y = 0.5 + std * jax.random.normal(jax.random.key(1), (2, 64, 64, 3))
    y = y.at[:, :4].set(1.0)  # a sixteenth of outliers moves the median's estimate by 8 % at most
    grain = np.asarray(Grain(Flat(), share=0.5)(KEY, Observation(y=y)) - 0.5)
    np.testing.assert_allclose(grain.std((1, 2, 3)), [0.05, 0.01], rtol=0.08 + 4 / (2 * N) ** 0.5)


def test_fixed_noise_is_the_last_image():
    obs = Observation(y=jnp.zeros((1, 8, 8, 3)))
    noise = jax.random.normal(KEY, (1, 8, 8, 3))
    fixed = Grain(Cubic(), 0.1)(KEY, obs.with_cond(noise=noise))
    np.testing.assert_allclose(fixed, 0.1 * jnp.broadcast_to(noise[..., :1], fixed.shape), atol=1e-7)
    around = Grain(Samples(Grain(Cubic(), 1.0), 2), 0.1)
    assert around.draws == 3
    noise = jax.random.normal(KEY, (1, 8, 8, 9))
    want = (noise[..., 0] + noise[..., 3]) / 2 + 0.1 * noise[..., 6]
    np.testing.assert_allclose(around(KEY, obs.with_cond(noise=noise))[..., 1], want, atol=1e-6)


def test_negative_is_refused():
    with pytest.raises(ValueError, match=r"Grain\.std must be 0 or more, not -1"):
        Grain(Cubic(), -1.0)
    with pytest.raises(ValueError, match=r"Grain\.share must be 0 or more"):
        Grain(Cubic(), None, -0.1)
