import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.precondition import Edm
from restore_jax.diffusion.sampler import Consistency
from restore_jax.methods.regression import Regression
from restore_jax.metrics.pixel import Mse
from restore_jax.targets.denoise import Denoise
from restore_jax.targets.dropout import ConditionDropout
from restore_jax.targets.ect import Ect

SHAPE = (400, 2, 2, 3)


class Seen(nn.Module):
    """A network that says what it was shown."""

    factor = 1

    @nn.compact
    def __call__(self, x, c_noise, cond):
        return cond


def batch(key) -> tuple[Observation, jax.Array]:
    x = jax.random.uniform(key, SHAPE)
    return Observation(y=x).with_cond(image=x), x


def state(key) -> TrainState:
    return TrainState(jnp.asarray(5), {}, {}, (), key)


def test_a_share_of_the_pictures_is_asked_without_the_condition(key):
    obs, x = batch(key)
    said = ConditionDropout(Denoise(), 0.25)(key, lambda *_: x, state(key), obs, x)
    grey = np.asarray(said.cond["image"] == 0.5).all((1, 2, 3))
    assert abs(grey.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)  # binomial
    np.testing.assert_array_equal(said.cond["image"][~grey], x[~grey])


def test_the_answer_is_given_without_it_too(key):
    obs, x = batch(key)

    def net(params, x_t, sigma, obs):
        return obs.cond["image"] + 0.0 * x_t

    said = ConditionDropout(Ect(stage_steps=1), 0.5)(key, net, state(key), obs, x)
    np.testing.assert_array_equal(said.target, said.cond["image"])


def test_dropped_is_what_the_parametrisation_shows_for_missing(key):
    """What the network learned without the condition is what classifier-free guidance asks it."""
    obs, x = batch(key)
    dropped = ConditionDropout(Denoise(), 1.0)(key, lambda *_: x, state(key), obs, x)
    sigma = jnp.ones(SHAPE[0])
    trained = Edm().to_net(x, sigma, obs.with_cond(**dropped.cond))
    asked = Edm().to_net(x, sigma, obs.with_cond(image=None))
    for a, b in zip(trained, asked):
        np.testing.assert_array_equal(a, b)


def test_the_method_puts_the_question_under_the_target_s_condition(key):
    """Planted: with share 1 the loss must not depend on the observation at all."""
    obs, x = batch(key)

    def loss(share: float, obs: Observation) -> float:
        target = ConditionDropout(Denoise(), share)
        method = Regression(Seen(), Edm(), target, Mse(), Consistency())
        return float(method.loss({}, state(key), obs, x, key)[0])

    other = Observation(y=1 - x)
    assert loss(1.0, obs) == loss(1.0, other)
    assert loss(0.0, obs) != loss(0.0, other)


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match="share lies in"):
        ConditionDropout(Denoise(), 1.5)
