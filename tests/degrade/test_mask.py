"""Missing pixels: how many, which, and what can be known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import pinv, prox
from restore_jax.degrade.mask import Box, Mask, RandomPixels

SHAPE = (16, 12, 3)
KEYS = jax.random.split(jax.random.key(1), 2000)


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(0.1, 1.0, SHAPE), jnp.float32)


def masks(degrade, x):
    return np.asarray(jax.jit(jax.vmap(degrade, (0, None)))(KEYS, x).operator.mask)[..., 0]


def test_solve_by_hand():
    """`r / (m^2 + reg)`, and where both vanish 0, not NaN."""
    a = Mask(in_shape=(1, 3, 1), mask=jnp.array([1.0, 0.5, 0.0]).reshape(1, 3, 1))
    r = jnp.array([2.0, 2.0, 2.0]).reshape(1, 3, 1)
    np.testing.assert_array_equal(a.solve(r, 0.0).ravel(), [2.0, 8.0, 0.0])
    np.testing.assert_array_equal(a.solve(r, 0.25).ravel(), jnp.array([1.6, 4.0, 8.0]))


def test_pseudo_inverse_keeps_what_was_seen(key, x):
    obs = RandomPixels(keep=0.5)(key, x)
    np.testing.assert_array_equal(pinv(obs.operator, obs.y), obs.y)


def test_prox_leaves_the_holes_alone(key, x):
    """Seen pixels become `(y + rho z) / (1 + rho)`, the others stay `z`; four roundings of numbers below 2."""
    obs = RandomPixels(keep=0.5)(key, x)
    z = jnp.full(SHAPE, 0.25)
    expected = np.where(obs.operator.mask > 0, (obs.y + 2 * z) / 3, z)
    np.testing.assert_allclose(prox(obs.operator, z, obs.y, 2.0), expected, rtol=0, atol=8 * 1.2e-7)


def test_random_pixels_are_kept_as_often_as_said(x):
    """Each of m pixels with probability p, by itself: a mean within 5 sqrt(p (1 - p) / m), neighbours uncorrelated."""
    seen = masks(RandomPixels(keep=0.3), x)
    assert set(np.unique(seen)) == {0.0, 1.0}
    assert abs(seen.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / seen.size)
    beside = (seen[:, 1:] - 0.3) * (seen[:, :-1] - 0.3)
    assert abs(beside.mean()) < 5 * 0.3 * 0.7 / np.sqrt(beside.size)


def test_random_pixels_from_a_range(x):
    """The share seen varies from picture to picture: variance 0.5^2 / 12 of the draw, and the counts' own."""
    share = masks(RandomPixels(keep=(0.2, 0.7)), x).mean(axis=(1, 2))
    assert abs(share.mean() - 0.45) < 5 * np.sqrt((0.25 / 12 + 0.25 / 192) / len(KEYS))
    assert share.std() > 0.1  # sqrt(0.25 / 12) = 0.144, estimated to 1 %; one common `keep` would give 0.036


@pytest.mark.parametrize(("keep", "seen"), [(0.0, 0.0), (1.0, 1.0)])
def test_none_and_all(key, x, keep, seen):
    np.testing.assert_array_equal(RandomPixels(keep=keep)(key, x).y, seen * x)


def test_all_channels_go_together(key, x):
    missing = np.asarray(RandomPixels(keep=0.5)(key, x).y) == 0
    np.testing.assert_array_equal(missing.all(-1), missing.any(-1))


@pytest.mark.parametrize(("size", "side"), [(0.0, 0), (0.25, 3), (0.5, 6), (1.0, 12)])
def test_box_is_one_square(x, size, side):
    for seen in masks(Box(size=size), x)[:64]:
        rows, cols = np.nonzero(seen == 0)
        assert len(rows) == side**2
        if side:
            assert np.ptp(rows) == np.ptp(cols) == side - 1


def test_box_goes_everywhere(x):
    """A 3 x 3 box has 14 x 10 places. In 2000 draws each is missed with probability (139/140)^2000 < 1e-6."""
    holes = np.unique(masks(Box(size=0.25), x), axis=0)
    assert len(holes) == 14 * 10


@pytest.mark.parametrize("make", [lambda: RandomPixels(keep=1.5), lambda: Box(size=-0.1), lambda: Box(size=(0.5, 1.2))])
def test_shares_lie_between_0_and_1(make):
    with pytest.raises(ValueError, match=r"(RandomPixels\.keep|Box\.size) must be .* in \[0, 1\], not"):
        make()
