"""Views: permutations of pixels, the same for all that are shown together, and blind to a generator's grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.methods.view import View, shown

SHAPE = (6, 8, 10, 3)
LOOK = jax.jit(View())


@pytest.fixture
def x(key):
    return jax.random.uniform(key, SHAPE)


def test_each_picture_is_rolled_and_mirrored(x, key):
    """Every picture of the batch is one of the 4 x 8 x 10 rolls and mirrors of itself, and not all the same one."""
    (seen,) = LOOK(key, x)
    found = set()
    for one, other in zip(np.asarray(x), np.asarray(seen), strict=True):
        turns = {
            (s, t, i, j): np.roll(one[::s, ::t], (i, j), (0, 1))
            for s in (1, -1)
            for t in (1, -1)
            for i in range(8)
            for j in range(10)
        }
        matching = [turn for turn, picture in turns.items() if np.array_equal(picture, other)]
        assert len(matching) == 1
        found.add(matching[0])
    assert len(found) > 3
    assert {turn[0] for turn in found} == {turn[1] for turn in found} == {1, -1}


def test_all_are_seen_from_one_place(x, key):
    seen, narrow = LOOK(key, x, 2 * x[..., :1])
    np.testing.assert_array_equal(narrow, 2 * seen[..., :1])


def test_a_key_for_each_picture_is_taken(x, key):
    keys = jax.random.split(key, SHAPE[0])
    np.testing.assert_array_equal(LOOK(keys, x)[0], LOOK(key, x)[0])


def test_one_pixel_of_shift_without_a_mirror_changes_nothing(x, key):
    np.testing.assert_array_equal(View(1, mirrored=False)(key, x)[0], x)


def test_gradients_come_back_to_their_pixels(x, key):
    """The view is a permutation, so its transpose is its inverse."""
    (seen,), back = jax.vjp(lambda x: LOOK(key, x), x)
    np.testing.assert_array_equal(back((seen,))[0], x)


def test_from_all_sides_no_place_of_a_grid_is_better_than_another(key):
    """A loss that sees every second row alone pays a generator for stripes; over many views it pays nothing.

    The slope on the stripes of a loss that is linear, the mean of rows 0, 2, 4...: 1 looked at from one place; from n
    random ones a mean of n signs, whose deviation is 1 / sqrt(n).
    """
    n, (h, w) = 4096, (8, 4)
    stripes = jnp.where(jnp.arange(h) % 2 == 0, 1.0, -1.0)[:, None, None] * jnp.ones((h, w, 1))

    def slope(view):
        def loss(strength):
            pictures = jnp.broadcast_to(0.5 + strength * stripes, (n, h, w, 1))
            seen = view(key, pictures)[0] if view else pictures
            return seen[:, ::2].mean()

        return float(jax.jit(jax.grad(loss))(0.0))

    assert slope(None) == pytest.approx(1.0, abs=1e-6)
    assert abs(slope(View())) < 5 / np.sqrt(n)


def test_without_a_view_all_stays(x, key):
    obs = Observation(y=x).with_cond(image=x)
    assert shown(None, key, x, x, obs) == (x, x, obs)


def test_the_condition_is_seen_with_them(x, key):
    obs = Observation(y=x).with_cond(image=0.5 * x)
    x_hat, seen, seen_obs = jax.jit(lambda *a: shown(View(), key, *a))(0.1 + x, x, obs)
    np.testing.assert_allclose(x_hat, 0.1 + seen, atol=1e-6)
    np.testing.assert_array_equal(seen_obs.cond["image"], 0.5 * seen)
    np.testing.assert_array_equal(seen_obs.y, x)


def test_refuses():
    with pytest.raises(ValueError, match=r"shift_px must be 1 .* above, not 0"):
        View(0)
