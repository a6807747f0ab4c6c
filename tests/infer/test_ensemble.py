"""The ensemble turns with its picture, bit for bit, and is the mean over eight."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, Operator, Restorer, normal, split
from restore_jax.infer.ensemble import Ensemble, turn, turn_back

KEY = jax.random.key(0)
SYMMETRIES = [(turns, flip) for turns in range(4) for flip in (False, True)]


@dataclass(frozen=True)
class Crooked:
    """Twice as large, shifted and shaded: no symmetry survives it."""

    scale = 2
    draws = 0

    def __call__(self, key, obs):
        x = jnp.repeat(jnp.repeat(obs.y, 2, -3), 2, -2)
        return jnp.sin(
            3 * x + 0.7 * jnp.roll(x, (1, 2), (-3, -2)) + jnp.linspace(0, 1, x.shape[-2])[None, None, :, None]
        )


@dataclass(frozen=True)
class Noise:
    """Nothing but noise."""

    scale = 1
    draws = 1

    def __call__(self, key, obs):
        noise = obs.cond.get("noise")
        return normal(key, obs.y.shape) if noise is None else noise


@pytest.mark.parametrize("g", SYMMETRIES)
def test_a_turn_is_undone(g):
    x = jax.random.uniform(KEY, (2, 3, 5, 1))
    np.testing.assert_array_equal(turn_back(turn(x, g), g), x)


def test_the_answer_turns_with_the_picture_bit_for_bit():
    y = jax.random.uniform(KEY, (1, 5, 7, 3))
    ensemble = Ensemble(Crooked())
    assert isinstance(ensemble, Restorer)
    straight = ensemble(KEY, Observation(y=y))
    assert straight.shape == (1, 10, 14, 3)
    for g in SYMMETRIES:
        np.testing.assert_array_equal(ensemble(KEY, Observation(y=turn(y, g))), turn(straight, g))
    single = Crooked()
    assert (
        jnp.abs(single(KEY, Observation(y=turn(y, (2, False)))) - turn(single(KEY, Observation(y=y)), (2, False))).max()
        > 0.1
    )


def test_it_is_the_mean():
    y = jax.random.uniform(KEY, (1, 4, 4, 3))
    each = [turn_back(Crooked()(KEY, Observation(y=turn(y, g))), g) for g in SYMMETRIES]
    np.testing.assert_allclose(Ensemble(Crooked())(KEY, Observation(y=y)), sum(each) / 8, atol=1e-6)


def test_noise_is_dealt_out_and_turned():
    """Fixed noise of eight images: the mean of all, each put back as it was given; drawn, eight independent ones."""
    obs = Observation(y=jnp.zeros((1, 4, 6, 3)))
    noise = normal(KEY, (1, 4, 6, 24))
    ensemble = Ensemble(Noise())
    assert ensemble.draws == 8
    mean = noise.reshape(1, 4, 6, 8, 3).mean(-2)
    np.testing.assert_allclose(ensemble(KEY, obs.with_cond(noise=noise)), mean, atol=1e-6)
    drawn = ensemble(split(KEY, 1), obs.replace(y=jnp.zeros((1, 40, 60, 3))))
    assert abs(float(drawn.std()) * 8**0.5 - 1) < 4 / (2 * 7200) ** 0.5 * 1.5


def test_operators_do_not_turn():
    with pytest.raises(ValueError, match=r"Ensemble\.restorer is to be one that needs no operator"):
        Ensemble(Noise())(KEY, Observation(y=jnp.zeros((1, 2, 2, 3)), operator=Operator((2, 2, 3))))
