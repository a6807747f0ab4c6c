"""Tiled is whole: exactly where the restorer is local, at odd sizes, at any scale, with fixed noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, Restorer
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic

NET = {"name": "nets.unet.UNet", "width": 4, "multipliers": (1, 2), "blocks": 1, "patch": 1, "embed": 4}
EDM = {"name": "diffusion.precondition.Edm", "sigma_data": 0.2, "around": "image"}


RESIDUAL = {"name": "diffusion.precondition.Residual"}


def restorer(scale: int, sigmas: tuple[float, ...], precondition=EDM, net=NET):
    """Random weights everywhere: a fresh net's last layers are zero and would hide every mistake."""
    method = build(
        {
            "name": "methods.regression.Regression",
            "scale": scale,
            "net": net,
            "precondition": precondition,
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": sigmas, "start": "image"},
        }
    )
    y, x = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 8 * scale, 8 * scale, 3))
    params = jax.eval_shape(lambda: method.init(jax.random.key(0), Observation(y=y), x))
    rng = np.random.default_rng(1)
    draw = lambda p: (rng.standard_normal(p.shape) / max(1, np.prod(p.shape[:-1])) ** 0.5).astype(np.float32)
    return method.restorer(jax.tree.map(draw, params))


def picture(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(2).random((h, w, 3), np.float32)


def close(tiled, whole):
    """To 1e-5 of the largest value: convolutions of a hundred float32 terms, ten deep, summed in another order."""
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.fixture(scope="module")
def residual():
    return restorer(2, (0.0,), RESIDUAL)


@pytest.mark.parametrize("size", [(97, 61), (64, 64), (50, 130)])
def test_tiled_is_whole(residual, size):
    y = picture(*size)
    tiled = Tile(residual, tile_px=48, batch=3)(jax.random.key(0), Observation(y=y))
    whole = jax.jit(residual)(jax.random.key(0), Observation(y=y[None]))[0]
    assert tiled.shape == (size[0] * 2, size[1] * 2, 3)
    close(tiled, whole)


@pytest.mark.parametrize("scale", [1, 2])
def test_sides_that_the_network_does_not_divide(scale):
    """A factor of 4 and two evaluations: whole and tiles see the same mirror image beyond the border, both times."""
    deep = restorer(scale, (1.0, 0.2), EDM, NET | {"multipliers": (1, 1, 1)})
    y = picture(153, 75)
    tiled = Tile(deep, tile_px=120, batch=1)(jax.random.key(0), Observation(y=y))
    whole = jax.jit(deep)(jax.random.key(0), Observation(y=y[None]))[0]
    close(tiled, whole)


def test_a_halo_too_small_shows(residual):
    """The law can fail: without the halo, tiles differ from the whole."""
    y = picture(97, 61)
    tiled = Tile(residual, tile_px=24, overlap_px=0)(jax.random.key(0), Observation(y=y))
    whole = jax.jit(residual)(jax.random.key(0), Observation(y=y[None]))[0]
    assert np.abs(tiled - whole).max() > 1e-3


def test_a_sampler_with_fixed_noise_is_tiled_exactly():
    sampler = restorer(1, (1.0, 0.2))
    y = picture(96, 64)
    noise = np.random.default_rng(3).standard_normal((96, 64, 6)).astype(np.float32)
    tiled = Tile(sampler, tile_px=64)(jax.random.key(0), Observation(y=y).with_cond(noise=noise))
    given = Observation(y=y[None]).with_cond(noise=noise[None])
    whole = jax.jit(sampler)(jax.random.key(0), given)[0]
    close(tiled, whole)


def test_drawn_noise_is_that_of_the_whole_picture():
    """Noise lives in the coordinates of the photograph, so the grid of tiles does not change the sample."""
    sampler = restorer(1, (1.0,))
    y = picture(64, 64)
    whole = jax.jit(sampler)(jax.random.key(0), Observation(y=y[None]))[0]
    first = Tile(sampler, tile_px=48)(jax.random.key(0), Observation(y=y))
    second = Tile(sampler, tile_px=64)(jax.random.key(0), Observation(y=y))
    other = Tile(sampler, tile_px=64)(jax.random.key(1), Observation(y=y))
    close(first, whole)
    close(second, whole)
    assert np.abs(first - other).max() > 1e-2


def test_one_program_for_all_sizes(residual):
    tile = Tile(residual, tile_px=48, batch=2)
    for size in ((97, 61), (130, 75), (48, 200)):
        tile(jax.random.key(0), Observation(y=picture(*size)))
    assert tile._restore._cache_size() == 1


def test_a_batch_and_progress():
    said = []
    y = np.stack([picture(30, 20), picture(30, 20)])
    out = Tile(Cubic(2), tile_px=16)(
        jax.random.key(0), Observation(y=y), lambda done, total: said.append((done, total))
    )
    whole = Cubic(2)(jax.random.key(0), Observation(y=jnp.asarray(y)))
    np.testing.assert_allclose(out, whole, atol=1e-6)
    assert said[-1][0] == said[-1][1]
    assert len(said) > 2


def test_it_is_a_restorer(residual):
    assert isinstance(Tile(residual), Restorer)
    assert Tile(residual).scale == 2


def test_tiles_without_room_are_refused(residual):
    with pytest.raises(ValueError, match="leaves no room inside a halo"):
        Tile(residual, tile_px=16)
    with pytest.raises(ValueError, match="multiple of"):
        Tile(restorer(1, (0.0,)), tile_px=63)
