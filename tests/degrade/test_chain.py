"""What a chain knows at its end: the operator, and the noise while it stays white."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.blur import GaussianBlur
from restore_jax.degrade.chain import Chain
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.linear import Compose, Identity, Separable
from restore_jax.degrade.mask import RandomPixels
from restore_jax.degrade.noise import Gaussian, PoissonGaussian

BLUR, SMALL, HOLES, NOISE = GaussianBlur(std=1.0), Downsample(scale=2), RandomPixels(keep=0.5), Gaussian(std=0.1)


def curve(key, x):
    """Not linear: nothing is known of it."""
    return Observation(y=x**2, cond={"curve": x})


def nothing(key, x):
    return Observation(y=x, operator=Identity(in_shape=x.shape))


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(16, 12, 3)), jnp.float32)


def chain(*steps):
    return Chain(steps=steps)


def test_steps_follow_each_other(key, x):
    """Each with a key of its own, on what the one before observed."""
    keys = jax.random.split(key, 2)
    np.testing.assert_array_equal(chain(BLUR, NOISE)(key, x).y, NOISE(keys[1], BLUR(keys[0], x).y).y)


def test_like_steps_draw_unlike_noise(key, x):
    """Two equal noises are independent: std sqrt(2) 0.1, not 0.2; m samples give it to 1 / sqrt(2 m)."""
    found = np.std(chain(NOISE, NOISE)(key, x).y - x)
    assert abs(found / (0.1 * np.sqrt(2)) - 1) < 5 / np.sqrt(2 * x.size)


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((nothing, nothing), Identity),
        ((BLUR,), Separable),
        ((BLUR, SMALL), Separable),
        ((BLUR, HOLES), Compose),
        ((HOLES, BLUR, SMALL), Compose),
    ],
)
def test_operators_compose(key, x, steps, kind):
    """Values up to 1 through two or three pairs of inner products of at most 16 terms."""
    obs = chain(*steps)(key, x)
    assert isinstance(obs.operator, kind)
    assert obs.noise_std is None
    np.testing.assert_allclose(obs.operator(x), obs.y, rtol=0, atol=6 * 16 * 1.2e-7)


@pytest.mark.parametrize("steps", [(NOISE,), (BLUR, SMALL, NOISE), (NOISE, nothing), (nothing, NOISE), (HOLES, NOISE)])
def test_white_noise_survives(key, x, steps):
    obs = chain(*steps)(key, x)
    assert obs.noise_std == jnp.float32(0.1)
    assert obs.operator(x).shape == obs.y.shape


@pytest.mark.parametrize(
    "steps",
    [
        (NOISE, BLUR),  # smeared
        (NOISE, SMALL),
        (NOISE, HOLES),  # white no longer: no noise where nothing is seen
        (NOISE, NOISE),
        (PoissonGaussian(), NOISE),
        (NOISE, BLUR, NOISE),
        (NOISE, nothing, BLUR),
    ],
)
def test_other_noise_is_not_claimed(key, x, steps):
    obs = chain(*steps)(key, x)
    assert obs.operator is None
    assert obs.noise_std is None


@pytest.mark.parametrize("steps", [(curve,), (curve, BLUR), (BLUR, curve), (curve, NOISE), (BLUR, curve, NOISE)])
def test_what_is_unknown_stays_unknown(key, x, steps):
    obs = chain(*steps)(key, x)
    assert obs.operator is None
    assert obs.noise_std is None
    assert "curve" in obs.cond


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match=r"Chain\.steps is empty: give at least one degradation"):
        Chain()
