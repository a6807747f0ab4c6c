"""Each photograph goes to the first restorer whose damage it has."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest

from restore_jax.core import Observation, Operator, Restorer
from restore_jax.infer.route import Route, Rule
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Painted:
    """A picture of one grey."""

    grey: float
    scale: int = 1
    draws: int = 0

    def __call__(self, key, obs):
        return np.full_like(obs.y, self.grey)


def test_the_first_rule_that_holds():
    smooth = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[:, None, None], (64, 64, 3)).copy()
    noisy = (smooth + 0.1 * np.random.default_rng(0).standard_normal(smooth.shape)).astype(np.float32)
    route = Route((Rule("noise", 0.05, Painted(0.1)), Rule("blur", 2.0, Painted(0.2))), Painted(0.3))
    assert isinstance(route, Restorer)
    assert route.chosen(noisy)[0].grey == 0.1
    restorer, found = route.chosen(smooth)
    assert restorer.grey == 0.2
    assert found["noise"] < 0.01
    assert found["blur"] > 2
    both = route(KEY, Observation(y=np.stack([noisy, smooth])))
    np.testing.assert_allclose(both.mean((1, 2, 3)), [0.1, 0.2], rtol=1e-5)
    edge = (smooth > 0.5).astype(np.float32)
    np.testing.assert_allclose(route(KEY, Observation(y=edge)).mean(), 0.3, rtol=1e-5)


def test_tiles_go_inside():
    y = np.random.default_rng(0).random((40, 40, 3), np.float32)
    route = Route((Rule("noise", 0.01, Tile(Cubic(), 16)),), Painted(0.5))
    np.testing.assert_allclose(route(KEY, Observation(y=y)), y, atol=1e-6)


def test_errors():
    with pytest.raises((ValueError, TypeError), match=r"(?s)damage"):
        Rule("age", 1.0, Cubic())
    with pytest.raises(ValueError, match=r"Route\.rules must have restorers of one scale, not \[1, 2\]"):
        Route((Rule("noise", 0.1, Cubic(2)),), Cubic())
    with pytest.raises(ValueError, match="has an operator"):
        Route((), Cubic())(KEY, Observation(y=np.zeros((1, 2, 2, 3), np.float32), operator=Operator((2, 2, 3))))
