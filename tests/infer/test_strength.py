"""0 is the input, 1 the restorer, and the way between is straight."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.infer.strength import Strength
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Squared:
    """The cubic, squared."""

    scale: int = 1
    draws = halo_px = 0
    factor = 1

    def __call__(self, key, obs):
        return Cubic(self.scale)(key, obs) ** 2


@pytest.mark.parametrize("scale", [1, 2])
def test_ends_and_way(scale):
    obs = Observation(y=jax.random.uniform(KEY, (2, 6, 5, 3)))
    restorer, y = Squared(scale), Cubic(scale)(KEY, obs)
    np.testing.assert_array_equal(Strength(restorer, 0.0)(KEY, obs), y)
    np.testing.assert_array_equal(Strength(restorer, 1.0)(KEY, obs), restorer(KEY, obs))
    full = float(jnp.linalg.norm(restorer(KEY, obs) - y))
    ways = [float(jnp.linalg.norm(Strength(restorer, s)(KEY, obs) - y)) for s in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0)]
    assert ways == sorted(ways)
    np.testing.assert_allclose(ways, [s * full for s in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0)], rtol=1e-5)


def test_it_tiles():
    y = np.random.default_rng(0).random((40, 30, 3), np.float32)
    whole = Strength(Squared(2), 0.5)(KEY, Observation(y=jnp.asarray(y[None])))[0]
    tiled = Tile(Strength(Squared(2), 0.5), tile_px=16)(KEY, Observation(y=y))
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_outside_is_refused(strength):
    with pytest.raises(ValueError, match=r"Strength\.strength lies in \[0, 1\]"):
        Strength(Cubic(), strength)
