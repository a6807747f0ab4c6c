import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.core import Observation, TrainState
from restore_jax.targets.clean import Clean


def test_the_answer_to_the_observation_is_the_photograph(key):
    x = jax.random.uniform(key, (2, 3, 4, 3))
    obs = Observation(y=x).with_cond(image=1 - x)
    said = Clean()(key, lambda *_: None, TrainState(0, {}, {}, (), key), obs, x)
    np.testing.assert_array_equal(said.inputs[0], 1 - x)
    np.testing.assert_array_equal(said.inputs[1], jnp.zeros(2))
    np.testing.assert_array_equal(said.target, x)
    np.testing.assert_array_equal(said.weight, jnp.ones(2))
