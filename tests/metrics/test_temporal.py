"""The warping error by hand, and the mask of what is seen."""

import inspect

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from restore_jax.metrics.temporal import WarpingError, seen


def test_a_video_that_only_moves_is_steady():
    """One pixel to the right and two down each frame; what leaves the picture does not count; nothing is rounded."""
    world = np.random.default_rng(0).uniform(size=(20, 20, 3)).astype(np.float32)
    frames = jnp.asarray(np.stack([world[8 - 2 * t : 16 - 2 * t, 8 - t : 18 - t] for t in range(4)]))
    flow = jnp.broadcast_to(jnp.asarray([2.0, 1.0]).reshape(1, 1, 1, 2), (3, 8, 10, 2))
    assert WarpingError()(frames, flow) == 0.0
    assert WarpingError()(frames, 0 * flow) > 0.05
    batch = WarpingError()(jnp.stack([frames, frames + 0.0]), jnp.stack([flow, 0 * flow]))
    np.testing.assert_allclose(batch, [0.0, WarpingError()(frames, 0 * flow)], rtol=1e-6)


def test_the_mask_chooses_what_counts():
    """A still pair off by 0.1 in one half and 0.3 in the other; nothing visible adds 0."""
    frames = jnp.zeros((2, 4, 6, 1)).at[1, :, :3].set(0.1).at[1, :, 3:].set(0.3)
    flow, mask = jnp.zeros((1, 4, 6, 2)), jnp.zeros((1, 4, 6)).at[:, :, 3:].set(1.0)
    np.testing.assert_allclose(WarpingError()(frames, flow), (0.01 + 0.09) / 2, rtol=1e-6)
    np.testing.assert_allclose(WarpingError()(frames, flow, mask), 0.09, rtol=1e-6)
    assert WarpingError()(frames, flow, 0 * mask) == 0.0


def test_seen_follows_there_and_back():
    """A flow and its opposite agree inside; the column that leaves is not seen, nor a pixel with a stray flow back."""
    forward = jnp.zeros((5, 6, 2)).at[..., 1].set(1.0)
    expected = np.ones((5, 6))
    expected[:, -1] = 0
    np.testing.assert_array_equal(seen(forward, -forward), expected)
    stray = (-forward).at[2, 3, 0].set(3.0)
    expected[2, 2] = 0
    np.testing.assert_array_equal(seen(forward, stray), expected)


def test_shapes_that_do_not_belong_together_are_refused():
    frames, flow = jnp.zeros((3, 4, 6, 1)), jnp.zeros((2, 4, 6, 2))
    with pytest.raises(ValueError, match="it needs 2 frames or more, not 1"):
        WarpingError()(frames[:1], flow[:0])
    with pytest.raises(ValueError, match=r"want flow \(2, 4, 6, 2\) and visible \(2, 4, 6\)"):
        WarpingError()(frames, flow[:1])
    with pytest.raises(ValueError, match="Divide 8-bit ones by 255"):
        WarpingError()(frames + 255, flow)
    # Where shapes are checked at run time, as in tests, that check comes first.
    with pytest.raises(
        (ValueError, jaxtyping.TypeCheckError), match=r"seen compares flows of one shape|Type-check error"
    ):
        inspect.unwrap(seen)(flow[0], flow[1][:2])
