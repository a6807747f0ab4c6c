"""Mean and spread against numpy over the same restorations, one by one."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, Restorer, normal, split
from restore_jax.infer.samples import Samples


@dataclass(frozen=True)
class Shaken:
    """y with noise that grows to the right: a restorer whose spread is known."""

    scale = 1
    draws = 1

    def __call__(self, key, obs):
        noise = obs.cond.get("noise")
        noise = normal(key, obs.y.shape) if noise is None else noise
        return obs.y + jnp.linspace(0.0, 1.0, obs.y.shape[-2])[None, None, :, None] * noise


def observed(key) -> Observation:
    return Observation(y=jax.random.uniform(key, (2, 3, 4, 3)))


@pytest.mark.parametrize("batch_of_keys", [False, True])
def test_mean_and_spread_are_those_of_the_samples(key, batch_of_keys):
    obs, key = observed(key), split(key, 2) if batch_of_keys else key
    samples = Samples(Shaken(), 5)
    assert isinstance(samples, Restorer)
    mean, spread = jax.jit(samples.mean_and_spread)(key, obs)
    each = np.stack([Shaken()(one, obs) for one in split(key, 5)])
    np.testing.assert_allclose(mean, each.mean(0), atol=1e-6)  # numbers below 5, a few roundings
    np.testing.assert_allclose(spread, each.std(0, ddof=1), atol=2e-6)
    np.testing.assert_array_equal(samples(key, obs), samples.mean_and_spread(key, obs)[0])
    assert (np.asarray(spread)[:, :, 0] == 0).all()


def test_given_noise_is_dealt_out_in_order(key):
    obs = observed(key)
    noise = jax.random.normal(key, (2, 3, 4, 9))
    samples = Samples(Shaken(), 3)
    assert samples.draws == 3
    mean, _ = samples.mean_and_spread(key, obs.with_cond(noise=noise))
    each = [Shaken()(key, obs.with_cond(noise=noise[..., 3 * i : 3 * i + 3])) for i in range(3)]
    np.testing.assert_allclose(mean, np.mean(each, 0), atol=1e-6)


def test_one_sample_has_no_spread():
    with pytest.raises(ValueError, match=r"Samples\.k must be at least 2"):
        Samples(Shaken(), 1)
