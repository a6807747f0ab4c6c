"""Means of the whole picture make tiled channel attention exact, one attention a pass; without them it is off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.infer.statistics import MEANS, Statistics
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def naf():
    """A NAFNet of three attentions, random weights everywhere."""
    method = build(
        {
            "name": "methods.regression.Regression",
            "net": {
                "name": "nets.nafnet.NAFNet",
                "width": 4,
                "enc_blocks": (1,),
                "middle_blocks": 1,
                "dec_blocks": (1,),
            },
            "precondition": {"name": "diffusion.precondition.Plain"},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.once.Once"},
        }
    )
    y = jnp.zeros((1, 8, 8, 3))
    shapes = jax.eval_shape(lambda: method.init(KEY, Observation(y=y), y))
    rng = np.random.default_rng(1)
    draw = lambda p: (rng.standard_normal(p.shape) / max(1, np.prod(p.shape[:-1])) ** 0.5).astype(np.float32)
    return method.restorer(jax.tree.map(lambda p: jnp.asarray(draw(p)), shapes))


def ramp(h: int, w: int) -> np.ndarray:
    """Dark to light: every tile has another mean, which is what goes wrong."""
    noise = np.random.default_rng(2).random((h, w, 3), np.float32)
    return (0.2 * noise + 0.8 * np.linspace(0, 1, w, dtype=np.float32)[None, :, None]).astype(np.float32)


def test_passes_make_it_exact(naf):
    """Local means: off by tenths of what the net does. After three passes, one an attention: whole, to 1e-5.

    The bound between: with weights of order one, a pass of this net leaves less than a fifth of the difference.
    """
    y = ramp(61, 94)
    whole = np.asarray(jax.jit(naf)(KEY, Observation(y=y[None]))[0])
    size = np.abs(whole).max()

    def off(tiled: np.ndarray) -> float:
        return float(np.abs(tiled - whole).max() / size)

    feathered = off(Tile(naf, 48, batch=3)(KEY, Observation(y=y)))
    statistics, obs, differences = Statistics(naf, 1, 48, batch=3), Observation(y=y), []
    for _ in range(3):  # pass by pass, with one compiled program
        differences.append(off(statistics(KEY, obs)))
        obs = obs.with_cond(**statistics.means(KEY, y, obs))
    assert sorted(obs.cond) == [f"{MEANS}{k}" for k in range(3)]
    assert feathered > 1e-2
    assert differences[0] < feathered / 5
    assert differences[1] < feathered / 5
    assert differences[2] < 1e-5


@pytest.mark.soak
def test_passes_are_counted(naf):
    y = ramp(61, 94)
    whole = np.asarray(jax.jit(naf)(KEY, Observation(y=y[None]))[0])
    tiled = Statistics(naf, 3, 64)(KEY, Observation(y=y))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.soak
def test_the_first_means_are_those_of_the_picture(naf):
    """Each pixel counts once, whatever the tiles: two grids measure the same first attention, and others do not."""
    y = ramp(61, 94)
    grids = [Statistics(naf, 1, side, batch=2).means(KEY, y, Observation(y=None)) for side in (48, 64)]
    assert sorted(grids[0]) == [f"{MEANS}{k}" for k in range(3)]
    np.testing.assert_allclose(grids[0][f"{MEANS}0"], grids[1][f"{MEANS}0"], rtol=0, atol=1e-6)
    assert np.abs(grids[0][f"{MEANS}2"] - grids[1][f"{MEANS}2"]).max() > 1e-5


def test_what_pools_nothing_is_refused():
    with pytest.raises(ValueError, match=r"Statistics\.restorer pools nothing"):
        Statistics(Cubic(), tile_px=16)(KEY, Observation(y=ramp(20, 20)))
    with pytest.raises(ValueError, match=r"Statistics\.passes must be at least 1, not 0"):
        Statistics(Cubic(), 0)
