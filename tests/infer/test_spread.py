"""The spread beside the picture: of samples, of mirrored answers, in tiles, with grain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, normal
from restore_jax.infer.samples import Samples
from restore_jax.infer.spread import Spread
from restore_jax.infer.tile import Tile

Y = np.random.default_rng(0).random((1, 6, 8, 3), np.float32)


class Noisy:
    """Answers y with noise of deviation 0.1."""

    scale, draws, halo_px = 1, 1, 0

    def __call__(self, key, obs):
        noise = obs.cond.get("noise")
        return jnp.asarray(obs.y) + 0.1 * (normal(key, obs.y.shape) if noise is None else noise)


class Shifted:
    """Looks at its left neighbour: mirrored along the columns it answers otherwise, along the rows alike."""

    scale, draws, halo_px = 1, 0, 1

    def __call__(self, key, obs):
        return jnp.pad(jnp.asarray(obs.y), ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]


def test_samples_have_their_own_mean_and_spread(key):
    noise = np.random.default_rng(1).standard_normal((1, 6, 8, 9), np.float32)
    obs = Observation(y=Y, cond={"noise": noise})
    mean, spread = Samples(Noisy(), 3).mean_and_spread(key, obs)
    both = Spread(Noisy(), 3)(key, obs)
    np.testing.assert_array_equal(both, np.concatenate([mean, spread], -1))


def test_mirrored_answers_differ_where_the_restorer_is_not_symmetric(key):
    both = np.asarray(Spread(Shifted())(key, Observation(y=Y)))
    left = np.pad(Y, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    right = np.pad(Y, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
    np.testing.assert_array_equal(both[..., :3], left)
    # two answers of each kind: the deviation of (a, b, a, b), with 3 in the denominator
    np.testing.assert_allclose(both[..., 3:], np.abs(left - right) / np.sqrt(3), rtol=1e-4, atol=1e-6)


def test_grain_lies_on_the_picture_and_not_on_the_spread(key):
    grain = np.random.default_rng(2).standard_normal((1, 6, 8, 3), np.float32)
    plain = Spread(Shifted())(key, Observation(y=Y))
    grainy = Spread(Shifted(), grain_std=0.05)(key, Observation(y=Y, cond={"noise": grain}))
    np.testing.assert_allclose(grainy[..., :3] - plain[..., :3], 0.05 * grain[..., :1].repeat(3, -1), atol=1e-6)
    np.testing.assert_array_equal(grainy[..., 3:], plain[..., 3:])
    assert Spread(Shifted(), grain_std=0.05).draws == 1


def test_it_tiles(key):
    whole = np.asarray(jax.jit(Spread(Shifted()))(key, Observation(y=Y)))[0]

    class Sink:
        rows: list = []

        def write(self, rows):
            self.rows.append(rows.copy())

    sink = Sink()
    Tile(Spread(Shifted()), 4, batch=2).stream(key, Y[0], sink)
    np.testing.assert_allclose(np.concatenate(sink.rows), whole, atol=1e-6)


@pytest.mark.parametrize(("field", "value"), [("k", 1), ("grain_std", -0.1)])
def test_a_bad_field_is_named(field, value):
    with pytest.raises(ValueError, match=rf"Spread\.{field}"):
        Spread(Shifted(), **{field: value})
