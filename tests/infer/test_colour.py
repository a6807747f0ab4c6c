"""A cast is taken away, details stay, and the low band is a low band."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.infer.colour import Colour, low_band
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Tinted:
    """A cast that grows to the right, and a checkerboard."""

    cast: float = 0.2
    slope: float = 0.0
    scale = factor = 1
    draws = halo_px = 0

    def checks(self, shape):
        h, w = shape[-3:-1]
        return 0.1 * (-1.0) ** (jnp.arange(h)[:, None, None] + jnp.arange(w)[None, :, None])

    def __call__(self, key, obs):
        shade = self.cast + self.slope * jnp.linspace(0, 1, obs.y.shape[-2])
        checks = self.checks(obs.y.shape)
        return obs.y + shade.reshape(1, 1, -1, 1) + checks.reshape((1, *checks.shape))


def test_a_cast_goes_and_details_stay():
    """The B-spline has a zero at the highest frequency, so that a checkerboard passes whole, and so does a cast that
    grows evenly, of which nothing is left, beyond the reach of 14 pixels of the border."""
    obs = Observation(y=jax.random.uniform(KEY, (1, 32, 48, 3)))
    checks = Tinted().checks(obs.y.shape)[None]
    off = Colour(Tinted(slope=0.3), 3)(KEY, obs) - obs.y
    assert float(jnp.abs(off.mean())) < 1e-6  # the mean is the input's
    inside = np.asarray(off - checks)[:, 14:-14, 14:-14]
    assert np.abs(inside).max() < 1e-6
    assert float(jnp.abs(Tinted(slope=0.3)(KEY, obs) - obs.y - checks).max()) > 0.4


def test_low_band_keeps_means_and_falls_off():
    x = jax.random.normal(KEY, (20, 30, 3))
    energies = []
    for levels in (1, 2, 3):
        low = low_band(x, levels)
        np.testing.assert_allclose(low.mean((0, 1)), x.mean((0, 1)), atol=1e-6)
        energies.append(float(low.var()))
    assert energies[0] > 2 * energies[1] > 4 * energies[2]
    np.testing.assert_allclose(low_band(jnp.full((5, 4, 1), 0.3), 4), 0.3, atol=1e-6)  # wider than the picture


def test_its_halo_is_how_far_it_sees():
    y = np.random.default_rng(0).random((70, 40, 3), np.float32)
    colour = Colour(Cubic(2), 2)
    assert colour.halo_px == 6 + 6
    whole = Colour(Tinted(), 2)(KEY, Observation(y=jnp.asarray(y[None])))[0]
    # The checkerboard of a tile begins at the tile: an even corner keeps it the picture's.
    tiled = Tile(Colour(Tinted(), 2), tile_px=24)(KEY, Observation(y=y))
    np.testing.assert_allclose(tiled, whole, atol=1e-6)
    short = Tile(Colour(Tinted(slope=1.0), 2), tile_px=24, overlap_px=0)(KEY, Observation(y=y))
    assert np.abs(short - whole).max() > 1e-3
    with pytest.raises(ValueError, match=r"Colour\.levels must be at least 1, not 0"):
        Colour(Cubic(), 0)
