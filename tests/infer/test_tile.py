"""Tiled is whole: exactly where the restorer is local, at odd sizes, at any scale, with fixed noise."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.photo_tiles import ODD, difference, local_nets
from restore_jax.build import build
from restore_jax.core import Observation, Restorer, normal, split
from restore_jax.infer.bands import ArraySink
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic

NET = {"name": "nets.unet.UNet", "width": 4, "multipliers": (1, 2), "blocks": 1, "patch": 1, "embed": 4}
KEY = jax.random.key(0)
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


@dataclass(frozen=True)
class Shaken:
    """y and noise under a 5 x 5 box of ones over 25: local, cheap, and with every way to go wrong that a net has."""

    of: Cubic
    scale = factor = 1
    halo_px = 2
    draws = 1

    def __call__(self, key, obs):
        noise = obs.cond.get("noise")
        y = obs.y + (normal(split(key)[0], obs.y.shape) if noise is None else noise)
        ends = [(0, 0), (2, 2), (2, 2), (0, 0)]
        return jax.lax.reduce_window(jnp.pad(y, ends), 0.0, jax.lax.add, (1, 5, 5, 1), (1, 1, 1, 1), "valid") / 25


@dataclass(frozen=True)
class Box(Shaken):
    """The same without noise; memory is short above `limit` pixels a call."""

    limit: int = 10**9
    draws = 0

    def __call__(self, key, obs):
        if obs.y.size // 3 > self.limit:
            raise MemoryError(f"{obs.y.shape}")
        return super().__call__(key, obs.with_cond(noise=jnp.zeros(())))


def picture(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(2).random((h, w, 3), np.float32)


def close(tiled, whole):
    """To 1e-5 of the largest value: convolutions of a hundred float32 terms, ten deep, summed in another order."""
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.fixture(scope="module")
def residual():
    return restorer(2, (0.0,), RESIDUAL)


@pytest.mark.parametrize("size", [(97, 61), pytest.param((64, 64), marks=pytest.mark.soak), (50, 130)])
def test_tiled_is_whole(residual, size):
    y = picture(*size)
    tiled = Tile(residual, tile_px=48, batch=3)(jax.random.key(0), Observation(y=y))
    whole = jax.jit(residual)(jax.random.key(0), Observation(y=y[None]))[0]
    assert tiled.shape == (size[0] * 2, size[1] * 2, 3)
    close(tiled, whole)


@pytest.mark.parametrize("scale", [1, pytest.param(2, marks=pytest.mark.soak)])
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


@pytest.mark.soak
def test_a_sampler_draws_the_noise_of_the_whole_picture():
    """The same as below, through a network and its preconditioning."""
    sampler = restorer(1, (1.0,))
    y = np.stack([picture(64, 50), picture(64, 50)])
    whole = jax.jit(sampler)(jax.random.key(0), Observation(y=y))
    close(Tile(sampler, tile_px=48)(jax.random.key(0), Observation(y=y)), whole)


def test_drawn_noise_is_that_of_the_whole_picture():
    """Noise lives in the coordinates of the photograph, so the grid of tiles does not change the sample."""
    y = np.stack([picture(64, 50), picture(64, 50)])
    whole = np.asarray(Shaken(Cubic())(KEY, Observation(y=jnp.asarray(y))))
    close(Tile(Shaken(Cubic()), tile_px=48)(KEY, Observation(y=y)), whole)
    close(Tile(Shaken(Cubic()), tile_px=20)(KEY, Observation(y=y)), whole)
    assert np.abs(whole[0] - whole[1]).max() > 1e-2  # the second picture of a batch has noise of its own
    keys = jax.random.split(jax.random.key(0), 2)
    close(Tile(Shaken(Cubic()))(keys, Observation(y=y)), Shaken(Cubic())(keys, Observation(y=jnp.asarray(y))))


def test_one_program_for_all_sizes(residual):
    tile = Tile(residual, tile_px=48, batch=2)
    for size in ((97, 61), (130, 75), (48, 200)):
        tile(jax.random.key(0), Observation(y=picture(*size)))
    assert len(tile._programs) == 1


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


def boxed(y: np.ndarray) -> np.ndarray:
    return np.asarray(Box(Cubic())(KEY, Observation(y=jnp.asarray(y[None]))))[0]


class Once:
    """A source that can be read once, and tells what was asked of it."""

    def __init__(self, array):
        self.array, self.asked, self.shape = array, [], array.shape

    def rows(self, top, bottom):
        self.asked.append((top, bottom))
        return self.array[top:bottom]


def test_rows_stream_from_a_source_to_a_sink():
    """Each row is asked for once and written once, in order; levels come out as the whole picture's levels."""
    levels = np.random.default_rng(4).integers(0, 256, (101, 47, 3), np.uint8)
    source, out = Once(levels), np.zeros_like(levels)
    Tile(Box(Cubic()), tile_px=20).stream(KEY, source, ArraySink(out))
    assert source.asked[0][0] == 0
    assert source.asked[-1][1] == 101
    assert all(a[1] == b[0] for a, b in zip(source.asked, source.asked[1:]))
    assert max(b - a for a, b in source.asked) <= 2 * 20  # a batch may begin in one row of tiles and end in the next
    whole = boxed(levels.astype(np.float32) / 255)
    np.testing.assert_allclose(out, 255 * whole, rtol=0, atol=0.5 + 255 * 1e-6)  # rounded once


@pytest.mark.parametrize("batch", [1, 3])
def test_short_memory_halves_the_tile_and_then_the_batch(batch):
    said = []
    y = picture(90, 70)
    tile = Tile(Box(Cubic(), limit=400), tile_px=64, batch=batch, say=said.append)
    np.testing.assert_allclose(tile(KEY, Observation(y=y)), boxed(y), rtol=0, atol=1e-6)
    assert said[0] == (
        f"Memory is short for {batch} tiles of 64 x 64 pixels at a time: going on with {batch} of 32 x 32."
    )
    number = len(said)
    tile(KEY, Observation(y=picture(80, 70)))
    assert len(said) == number  # it is remembered


@pytest.mark.parametrize("feather", [False, True])
def test_memory_that_runs_short_on_the_way_leaves_no_stale_pixel(monkeypatch, feather):
    """The third batch and every larger one after it fail: finished rows stay, the others are made anew."""
    y, calls, said = picture(140, 50), [], []
    tile = Tile(Box(Cubic()), tile_px=32, overlap_px=1 if feather else None, batch=2, say=said.append)
    honest = Tile._program

    def failing(self, key, obs):
        calls.append(obs.y.shape)
        if len(calls) > 2 and obs.y.shape[1] > 16:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")
        return honest(self, key, obs)

    monkeypatch.setattr(Tile, "_program", failing)
    out = np.full_like(y, np.nan)
    tile.stream(KEY, Once(y), ArraySink(out))
    assert len(said) == 1
    assert {shape[1] for shape in calls} == {32, 16}
    # A halo of 1 for a reach of 2 leaves out at most 5 of 25 terms, none above 1, where windows are not yet 0.
    np.testing.assert_allclose(out, boxed(y), rtol=0, atol=0.2 if feather else 1e-6)


def test_no_room_at_all_is_said():
    with pytest.raises(MemoryError, match="memory is short even for one tile of 5 x 5 pixels"):
        Tile(Box(Cubic(), limit=1), tile_px=16, say=lambda text: None)(KEY, Observation(y=picture(40, 40)))


def test_errors_of_a_sink_are_not_taken_for_the_devices():
    class Full:
        def write(self, rows):
            raise MemoryError("of the encoder")

    with pytest.raises(MemoryError, match="of the encoder"):
        Tile(Box(Cubic()), tile_px=16).stream(KEY, picture(40, 40), Full())


def test_tiles_are_chosen_by_what_the_program_takes():
    """A picture of one tile is one; a budget that its program exceeds makes tiles smaller, and the answer the same."""
    y = picture(257, 131)
    free, tight = Tile(Box(Cubic())), Tile(Box(Cubic(), 10**8), memory_mb=1)
    np.testing.assert_allclose(free(KEY, Observation(y=y)), boxed(y), rtol=0, atol=1e-6)
    assert (free._rooms[257, 131].height, free._rooms[257, 131].width) == (257, 131)
    np.testing.assert_allclose(tight(KEY, Observation(y=y)), boxed(y), rtol=0, atol=1e-6)


def test_conditions_on_the_grid_are_cut_and_others_are_not():
    class Asks:
        scale, draws, factor, halo_px = 1, 0, 1, 0

        def __call__(self, key, obs):
            return obs.y * obs.cond["mask"] + obs.cond["level"] + obs.noise_std

    y, mask = picture(40, 30), picture(40, 30)[..., :1]
    obs = Observation(y=y, noise_std=0.25).with_cond(mask=mask, level=np.float32(2.0))
    np.testing.assert_allclose(Tile(Asks(), tile_px=16)(KEY, obs), y * mask + 2.25, rtol=0, atol=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(local_nets()))
@pytest.mark.parametrize("k", range(len(ODD)))
def test_every_local_net_tiled_is_whole(name, k):
    """To 1e-5 of the largest value, random weights, at five odd sizes and tile sizes."""
    assert difference(local_nets()[name], ODD[k : k + 1]) <= 1e-5
