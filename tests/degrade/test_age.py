"""Fading as a formula, scratches as a mask, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.age import Fade, Scratches

KEY = jax.random.key(0)


def test_fading_takes_contrast_and_lifts_black():
    x = jnp.stack([jnp.zeros((2, 3)), jnp.ones((2, 3))])
    y = Fade(loss=0.25, lift=0.2)(KEY, x).y
    np.testing.assert_allclose(y[0], 0.2, rtol=1e-6)
    np.testing.assert_allclose(y[1], 0.2 + 0.8 * 0.75, rtol=1e-6)


def test_channels_fade_apart():
    y = Fade(loss=(0.0, 0.5), lift=0.0)(KEY, jnp.ones((1, 1, 3))).y
    assert len(np.unique(y)) == 3
    assert y.min() >= 0.5


def test_scratches_change_a_few_pixels_to_one_tone():
    y = Scratches(count=3, width=0.02, tone=0.9)(KEY, jnp.full((64, 64, 3), 0.3)).y
    scratched = np.asarray(y) != np.float32(0.3)
    assert 0 < scratched.mean() < 0.2
    np.testing.assert_allclose(y[scratched], 0.9, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Fade(loss=1.5), "Fade.loss"),
        (lambda: Fade(lift=-0.1), "Fade.lift"),
        (lambda: Scratches(count=0), "Scratches.count"),
        (lambda: Scratches(width=2.0), "Scratches.width"),
        (lambda: Scratches(tone=(0.5, 1.5)), "Scratches.tone"),
    ],
)
def test_bad_input_is_named(make, field):
    with pytest.raises(ValueError, match=field):
        make()
