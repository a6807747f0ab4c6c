"""One look at the observation itself, at the level that is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.diffusion.once import Once


def test_the_denoiser_sees_the_observation_and_the_level():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 5, 3)), jnp.float32)
    once = Once(0.25)
    out = once(jax.random.key(0), lambda x_t, sigma: x_t / (1 + sigma), Observation(y=y).with_cond(image=y))
    np.testing.assert_array_equal(out, y / 1.25)
    assert (once.draws, once.nfe) == (0, 1)


def test_a_level_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"Once\.sigma.*not -1"):
        Once(-1.0)
