"""What stands around a restorer passes on what tiles and samplers ask for."""

from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.core import Observation
from restore_jax.infer.around import Around, is_local
from restore_jax.methods.regression import Cubic


@dataclass(frozen=True)
class Bare:
    """No more than a Restorer must have."""

    scale = 1
    draws = 3

    def __call__(self, key, obs):
        return obs.y


@dataclass(frozen=True)
class OfNet(Bare):
    """As `methods.regression.Sampled`: its net says whether it is local."""

    method = SimpleNamespace(net=SimpleNamespace(local=False))


def test_it_passes_on():
    around = Around(Cubic(2))
    assert (around.scale, around.draws, around.factor, around.halo_px, around.local) == (2, 0, 1, 6, True)
    bare = Around(Bare())
    assert (bare.draws, bare.factor, bare.halo_px) == (3, 1, 0)


def test_locality_is_asked_of_the_restorer_and_else_of_its_net():
    assert not is_local(OfNet())
    assert is_local(SimpleNamespace(local=True, method=OfNet.method))
    assert not Around(OfNet()).local
    assert is_local(object())


def test_the_input_at_the_size_of_the_answer():
    y = np.random.default_rng(0).random((1, 4, 5, 3), np.float32)
    np.testing.assert_array_equal(Around(Cubic(1)).input_of(Observation(y=y)), y)
    np.testing.assert_array_equal(
        Around(Cubic(2)).input_of(Observation(y=y)), Cubic(2)(jax.random.key(0), Observation(y=jnp.asarray(y)))
    )
