"""Missing pixels: how many, which, and what can be known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import label

from restore_jax.core import pinv, prox
from restore_jax.degrade.mask import Box, Mask, Outpaint, RandomPixels, Strokes

SHAPE = (16, 12, 3)
KEYS = jax.random.split(jax.random.key(1), 2000)


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(0.1, 1.0, SHAPE), jnp.float32)


def masks(degrade, x, n=2000):
    return np.asarray(jax.jit(jax.vmap(degrade, (0, None)))(KEYS[:n], x).operator.mask)[..., 0]


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


def test_spectrum_counts_every_number_of_the_picture():
    a = Mask(in_shape=(1, 2, 3), mask=jnp.array([-0.5, 1.0]).reshape(1, 2, 1))
    np.testing.assert_array_equal(a.spectrum(), np.repeat([0.5, 1.0], 3).reshape(1, 2, 3))


def test_one_stroke_is_a_capsule():
    """Of one straight piece of length l and width d: all pixels within d / 2 of a segment, `l d + pi d^2 / 4` of them.

    Taken from holes that the border does not cut. Their areas are equal but for the rounding of the rim to whole
    pixels, of which there are about `2 l + pi d`: it scatters by less than their square root, 8 of 178 pixels, and
    the mean of 100 of them by a tenth of that. No two pixels lie further apart than l + d.
    """
    side, length, width = 64, 16.0, 8.0
    holes = 1 - masks(Strokes(1, 1, width=width / side, length=length / side), jnp.ones((side, side, 1)), 300)
    rim = np.pad(np.zeros((side - 2, side - 2)), 1, constant_values=1)
    whole = [hole for hole in holes if not (hole * rim).any()]
    assert len(whole) > 100
    expected = length * width + np.pi * width**2 / 4
    assert abs(np.mean([hole.sum() for hole in whole]) - expected) < 5 * 0.8
    for hole in whole[:50]:
        places = np.argwhere(hole)
        apart = np.hypot(*(places[:, None] - places[None]).reshape(-1, 2).T).max()
        assert length + width - 3 < apart <= length + width


def test_a_stroke_is_connected(x):
    """Of many pieces, each 3 pixels wide: one region, however it turns; three strokes hide more than one."""
    one = masks(Strokes(strokes=1, vertices=5, width=0.25), x, 50)
    for seen in one:
        assert label(seen == 0, np.ones((3, 3)))[1] == 1
    assert masks(Strokes(strokes=3, vertices=5, width=0.25), x, 50).mean() < one.mean() - 0.1


def test_a_stroke_may_stand_still(x):
    """Length 0 leaves dots; with width 0 they have no area, and nothing divides by 0."""
    assert masks(Strokes(width=0.0, length=0.0), x, 8).all()


@pytest.mark.parametrize(
    ("side", "rows", "cols"),
    [
        ("left", (0, 16), (9, 12)),
        ("right", (0, 16), (0, 3)),
        ("top", (12, 16), (0, 12)),
        ("bottom", (0, 4), (0, 12)),
        ("all", (6, 10), (4, 7)),
    ],
)
def test_outpainting_keeps_what_it_says(key, x, side, rows, cols):
    expected = np.zeros(SHAPE[:2])
    expected[slice(*rows), slice(*cols)] = 1
    np.testing.assert_array_equal(Outpaint(keep=0.25, side=side)(key, x).operator.mask[..., 0], expected)


def test_outpainting_from_a_range(x):
    shares = masks(Outpaint(keep=(0.25, 1.0), side="top"), x).mean(axis=(1, 2))
    np.testing.assert_allclose(np.unique(shares), np.arange(4, 17) / 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Outpaint(keep=1.5), r"Outpaint\.keep must be .* in \[0, 1\]"),
        (lambda: Outpaint(side="front"), r"Outpaint\.side must be one of all, left, right, top, bottom, not 'front'"),
        (lambda: Strokes(strokes=0), r"Strokes\.strokes must be a whole number >= 1, not 0"),
        (lambda: Strokes(vertices=-1), r"Strokes\.vertices must be a whole number >= 1, not -1"),
        (lambda: Strokes(width=2.0), r"Strokes\.width must be .* in \[0, 1\]"),
        (lambda: Strokes(turn=(0.0, 270.0)), r"Strokes\.turn must be .* in \[0, 180\]"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
