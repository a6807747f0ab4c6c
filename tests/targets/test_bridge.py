"""The question lies on the bridge, and the answer is the photograph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.bridge import I2sb, ResidualShift
from restore_jax.targets.bridge import Bridge

N = 20_000
STATE = TrainState(jnp.asarray(0), {}, {}, (), jax.random.key(0))


def supervision(bridge, key):
    """`N` questions on the bridge from 0.2 to 0.7, one pixel each."""
    x = jnp.full((N, 1, 1, 1), 0.2)
    obs = Observation(y=x).with_cond(image=jnp.full_like(x, 0.7))
    return Bridge(bridge)(key, lambda *_: pytest.fail("a bridge asks no network"), STATE, obs, x), x


@pytest.mark.parametrize("bridge", [I2sb(), ResidualShift(0.3)], ids=str)
def test_questions_lie_on_the_bridge(bridge, key):
    """The bridge's own mean and deviation turn each question into white noise, whatever its level."""
    said, x = supervision(bridge, key)
    x_t, t = said.inputs
    np.testing.assert_array_equal(said.target, x)
    np.testing.assert_array_equal(said.weight, np.ones(N))
    white = np.asarray((x_t.ravel() - 0.2 - 0.5 * bridge.mean_weight(t)) / bridge.std(t))
    for part in (t < 0.2, (t > 0.2) & (t < 0.8), t > 0.8):
        kept = white[np.asarray(part)]
        # Moments of n white numbers: their means have deviations 1 / sqrt(n) and sqrt(2 / n).
        assert abs(kept.mean()) < 4 / np.sqrt(kept.size)
        assert abs((kept**2).mean() - 1) < 4 * np.sqrt(2 / kept.size)
    assert np.abs(np.quantile(t, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 4 * 0.5 / np.sqrt(N)


def test_the_other_bridge_is_found(key):
    said, _ = supervision(ResidualShift(0.3), key)
    x_t, t = said.inputs
    white = (x_t.ravel() - 0.2 - 0.5 * I2sb().mean_weight(t)) / I2sb().std(t)
    assert abs(float((white**2).mean()) - 1) > 40 * np.sqrt(2 / N)


def test_a_bridge_without_its_end_says_so(key):
    x = jnp.zeros((1, 1, 1, 1))
    with pytest.raises(ValueError, match=r'cond\["image"\]'):
        Bridge(I2sb())(key, lambda *_: x, STATE, Observation(y=x), x)
