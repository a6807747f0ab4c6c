"""Flicker: none in what only moves, the noise's where noise is fresh, and said in one line."""

import json

import numpy as np
import pytest

from restore_jax.evaluate.flicker import flicker, flow_of

RNG = np.random.default_rng(0)


def moving(count, step=1, height=40, width=48):
    """A smooth texture that moves to the right by `step` pixels a frame."""
    row, col = np.mgrid[:height, :width].astype(np.float32)
    for t in range(count):
        c = col - step * t
        texture = 0.5 + 0.2 * np.sin(0.5 * c + 0.2 * row) + 0.2 * np.cos(0.4 * row - 0.3 * c)
        yield np.repeat(texture[..., None], 3, axis=-1).astype(np.float32)


def noisy(frames, std, fresh):
    still = RNG.normal(size=(40, 48, 3))
    return [np.clip(x + std * (RNG.normal(size=x.shape) if fresh else still), 0, 1).astype(np.float32) for x in frames]


def test_the_flow_is_the_move():
    here, there = moving(2)
    inside = flow_of(here, there)[8:-8, 8:-8]
    assert np.abs(inside - np.asarray([0, 1])).mean() < 0.15  # of a pixel


def test_fresh_noise_flickers_and_fixed_noise_does_not():
    """Still frames: fresh noise of variance v changes by 2 v from one to the next; fixed noise by nothing."""
    frames = list(moving(4, step=0))
    found = flicker(frames, noisy(frames, 0.05, fresh=True))
    assert found.before < 1e-9
    assert found.after == pytest.approx(2 * 0.05**2, rel=0.1)  # 17,280 numbers: 1 % and the clipping
    assert flicker(frames, noisy(frames, 0.05, fresh=False)).after < 1e-9


def test_what_removes_noise_is_steadier():
    clean = list(moving(4))
    found = flicker(noisy(clean, 0.05, fresh=True), clean)
    assert found.ratio < 0.5
    assert flicker(clean, clean).ratio == 1


def test_a_single_jump_is_found():
    frames = list(moving(6, step=0))
    flash = [x + 0.1 * (t >= 3) for t, x in enumerate(frames)]
    found = flicker(frames, [np.asarray(x, np.float32) for x in flash])
    assert found.worst == 2
    assert found.frames == (0, 1, 2, 3, 4)
    assert f"frame {found.worst}." in found.line()
    assert json.loads(json.dumps(found.json()))["worst"] == 2


def test_other_sizes_and_few_pairs():
    frames = list(moving(9))
    large = [np.repeat(np.repeat(x, 2, 0), 2, 1) for x in frames]
    found = flicker(frames, large, count=9, pairs=4)
    assert found.frames == (0, 2, 4, 6)
    assert found.ratio == pytest.approx(1, abs=1e-3)


def test_errors():
    one = list(moving(1))
    with pytest.raises(ValueError, match="2 frames or more, not 1"):
        flicker(one, one)
    with pytest.raises(ValueError, match="ends after 1 frames"):
        flicker(one, list(moving(2)))
    with pytest.raises(ValueError, match=r"flicker\.pairs.*0"):
        flicker(one, one, pairs=0)
