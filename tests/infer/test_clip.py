"""Frames and windows: what a clip's restorer is given, and that noise stays where it is."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, normal, split
from restore_jax.infer.clip import Clip, windows
from restore_jax.infer.tile import Tile

KEY = jax.random.key(3)
CLIP = np.random.default_rng(0).random((7, 4, 5, 3)).astype(np.float32)


@dataclass(frozen=True)
class Noisy:
    """y and its noise; counts its traces."""

    traces: list
    scale: int = 1
    draws: int = 1

    def __call__(self, key, obs):
        self.traces.append(obs.y.shape)
        noise = obs.cond.get("noise")
        return obs.y + (normal(key, obs.y.shape) if noise is None else noise)


@dataclass(frozen=True)
class Weighted:
    """`sum_k 10^k y[k]` of a window of three."""

    frames: int = 3
    scale: int = 1
    draws: int = 0

    def __call__(self, key, obs):
        return jnp.einsum("k,bkhwc->bhwc", jnp.asarray([1.0, 10.0, 100.0]), obs.y)


@pytest.mark.parametrize(
    ("items", "frames", "wanted"),
    [
        ("abcd", 1, ["a", "b", "c", "d"]),
        ("abcd", 3, ["bab", "abc", "bcd", "cdc"]),
        ("abcd", 5, ["cbabc", "babcd", "abcdc", "bcdcb"]),
        ("ab", 3, ["bab", "aba"]),
        ("a", 3, ["aaa"]),
        ("ab", 5, ["bbaba", "babaa"]),
        ("", 3, []),
    ],
)
def test_windows_are_mirrored(items, frames, wanted):
    assert ["".join(window) for window in windows(items, frames)] == wanted


@pytest.mark.parametrize(("count", "frames"), [(6, 3), (6, 5), (5, 7), (9, 7)])
def test_windows_are_numpys_padding(count, frames):
    half = frames // 2
    padded = np.pad(np.arange(count), half, mode="reflect")
    assert [list(w) for w in windows(range(count), frames)] == [list(padded[i : i + frames]) for i in range(count)]


def test_noise_is_fixed_in_time_and_fresh_where_asked():
    """The same noise on every frame, whatever the batch; with `fresh`, that of the frame's number."""
    fixed = np.asarray(Clip(Noisy([]), batch=3)(KEY, Observation(y=CLIP))) - CLIP
    np.testing.assert_allclose(fixed, np.broadcast_to(normal(KEY, CLIP.shape[1:]), CLIP.shape), atol=1e-6)
    fresh = np.asarray(Clip(Noisy([]), batch=3, fresh=True)(KEY, Observation(y=CLIP))) - CLIP
    wanted = np.stack([normal(jax.random.fold_in(KEY, t), CLIP.shape[1:]) for t in range(7)])
    np.testing.assert_allclose(fresh, wanted, atol=1e-6)


def test_one_program_and_the_same_frames_whatever_the_batch():
    traces = []
    whole = np.asarray(Clip(Noisy(traces), batch=3)(KEY, Observation(y=CLIP)))
    assert traces == [(3, 4, 5, 3)]
    np.testing.assert_array_equal(np.asarray(Clip(Noisy([]), batch=1)(KEY, Observation(y=CLIP))), whole)


def test_a_restorer_of_windows():
    x_hat = np.asarray(Clip(Weighted(), batch=2)(KEY, Observation(y=CLIP)))
    padded = np.pad(CLIP, ((1, 1), (0, 0), (0, 0), (0, 0)), mode="reflect")
    np.testing.assert_allclose(x_hat, padded[:-2] + 10 * padded[1:-1] + 100 * padded[2:], rtol=1e-5)


def test_frames_that_are_not_wanted_are_still_neighbours():
    clip = Clip(Weighted(), batch=2)
    whole = dict(clip.stream(KEY, enumerate(CLIP), apart=lambda t: t // 3))
    some = dict(clip.stream(KEY, enumerate(CLIP), lambda t: t // 3 == 1, apart=lambda t: t // 3))
    assert list(some) == [3, 4, 5]
    for t, x_hat in some.items():
        np.testing.assert_array_equal(x_hat, whole[t])


def test_large_frames_in_tiles():
    """Through tiles the noise is that of the whole frame, at the tile's place, and the same on every frame."""
    tiled = np.asarray(Clip(Tile(Noisy([]), tile_px=2), batch=3)(KEY, Observation(y=CLIP)))
    noise = np.asarray(normal(split(KEY)[0], CLIP.shape[1:]))
    np.testing.assert_allclose(tiled - CLIP, np.broadcast_to(noise, CLIP.shape), atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"Clip\.batch.*0"):
        Clip(Noisy([]), batch=0)
    with pytest.raises(ValueError, match=r"Clip\.restorer\.frames.*2"):
        Clip(Weighted(2))
    with pytest.raises(ValueError, match="Tile"):
        Clip(Tile(Weighted()))
    with pytest.raises(ValueError, match=r"windows\.frames.*4"):
        next(windows("abc", 4))
