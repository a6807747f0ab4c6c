"""A sampler over tiles is the sampler: for any number of steps, its own noise, and its guidance."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.infer.denoiser import TiledDenoiser, tiled_steps
from restore_jax.infer.tile import Tile

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Net:
    """A linear denoiser that sees two pixels and its condition: `box(x_t) / (1 + sigma) + image / 2`."""

    image: jax.Array

    def __call__(self, x_t, sigma):
        lead = [(0, 0)] * (x_t.ndim - 3)
        ends, window = [*lead, (2, 2), (2, 2), (0, 0)], (1,) * len(lead) + (5, 5, 1)
        box = jax.lax.reduce_window(jnp.pad(x_t, ends), 0.0, jax.lax.add, window, (1,) * x_t.ndim, "valid") / 25
        return box / (1.0 + jnp.reshape(sigma, jnp.shape(sigma) + (1,) * (x_t.ndim - jnp.ndim(sigma)))) + self.image / 2

    def given(self, **cond):
        return dataclasses.replace(self, image=cond["image"])


def world(h=37, w=50):
    obs = Observation(y=jax.random.uniform(jax.random.key(2), (2, h, w, 3)))
    return obs.with_cond(image=obs.y), Net(obs.y)


@pytest.mark.parametrize("tile_px", [9, 16, 64])
def test_tiled_is_the_denoiser(tile_px):
    obs, net = world()
    tiled = TiledDenoiser(tile_px, halo_px=2)(net, obs)
    x_t = jax.random.normal(KEY, obs.y.shape)
    for sigma in (jnp.float32(0.5), jnp.array([0.1, 2.0])):
        np.testing.assert_allclose(jax.jit(tiled)(x_t, sigma), net(x_t, sigma), rtol=0, atol=1e-6)
    asked = tiled.given(image=0 * obs.y)
    np.testing.assert_allclose(asked(x_t, sigma), net.given(image=0 * obs.y)(x_t, sigma), rtol=0, atol=1e-6)


def test_a_halo_too_small_shows_and_feathering_hides_it():
    """The largest step beside a seam falls by half or more when neighbours fade into each other."""
    obs, net = world(48, 48)
    x_t = jnp.ones_like(obs.y)
    off = [
        np.asarray(
            TiledDenoiser(16, halo_px=0, feather=feather)(net, obs)(x_t, jnp.float32(0.0)) - net(x_t, jnp.float32(0.0))
        )
        for feather in (False, True)
    ]
    hard, soft = (float(np.abs(np.diff(o[:, 4:-4, 4:-4], axis=1)).max()) for o in off)
    assert hard > 0.1
    assert soft < hard / 2


def test_an_ancestral_sampler_over_tiles_is_the_sampler():
    """It draws noise in each of its steps: on the whole picture, so that no tile repeats another's."""
    spec = {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.Ancestral"}, "n_steps": 3}
    spec["schedule"] = {"name": "diffusion.schedule.Karras", "sigma_max": 2.0}
    sampler = build(spec)
    how = {"name": "infer.denoiser.TiledDenoiser", "tile_px": 20, "halo_px": 2}
    tiled = build({"name": "diffusion.sampler.Guided", "sampler": spec, "guidance": (how,)})
    obs, net = world()
    whole = sampler(KEY, net, obs)
    np.testing.assert_allclose(tiled(KEY, net, obs), whole, rtol=0, atol=2e-6 * float(jnp.abs(whole).max()))


def test_a_trained_restorer_is_tiled_beneath_its_guidance():
    method = build(
        {
            "name": "methods.regression.Regression",
            "net": {"name": "nets.dncnn.DnCNN", "width": 4, "depth": 3},
            "precondition": {"name": "diffusion.precondition.Edm", "around": "image", "sees": ()},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (1.0, 0.2), "start": "image"},
            "guidance": ({"name": "diffusion.guidance.DynamicThreshold"},),
        }
    )
    y = jax.random.uniform(jax.random.key(3), (1, 41, 30, 3))
    restorer = method.restorer(method.init(KEY, Observation(y=y[:, :8, :8]), y[:, :8, :8]))
    tiled = tiled_steps(restorer, tile_px=16)
    assert tiled.draws == 2
    whole = jax.jit(restorer)(KEY, Observation(y=y))
    np.testing.assert_allclose(jax.jit(tiled)(KEY, Observation(y=y)), whole, rtol=0, atol=1e-5)
    # Tiled as a whole, its threshold is each tile's own, and the answer another.
    apart = Tile(restorer, tile_px=24)(KEY, Observation(y=np.asarray(y)))
    assert np.abs(apart - np.asarray(whole)).max() > 1e-4


def test_it_can_be_differentiated():
    obs, net = world(12, 30)
    tiled = TiledDenoiser(12, halo_px=2)(net, obs)
    gradient = lambda d: jax.grad(lambda x: jnp.sum(jnp.sin(d(x, jnp.float32(0.3)))))(obs.y)
    np.testing.assert_allclose(gradient(tiled), gradient(net), rtol=0, atol=2e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"TiledDenoiser\.tile_px = 8 leaves no room inside a halo of 4"):
        TiledDenoiser(8, 4)
    with pytest.raises(ValueError, match="must be multiples of unit = 4, not 18 and 4"):
        TiledDenoiser(18, 4, unit=4)
    obs, _ = world()
    with pytest.raises(ValueError, match="put it first among the guidance"):
        TiledDenoiser(16, 2)(lambda x, sigma: x, obs)
