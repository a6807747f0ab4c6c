import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.diffusion import guidance
from restore_jax.diffusion.guidance import Autoguidance, ClassifierFree, DynamicThreshold, Threshold
from restore_jax.diffusion.precondition import Edm
from restore_jax.methods.regression import Bound
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (3, 2, 2)
OBS = Observation(y=jnp.zeros((2, *SHAPE)))
ULP = np.finfo(np.float32).eps


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, SHAPE)


def conditional(world) -> Bound:
    """The world's denoiser, moved towards cond["image"] by a tenth of it; without one, towards grey."""

    def net(params, x_t, sigma, obs):
        del params
        return world.denoise(x_t, sigma) + 0.1 * obs.cond.get("image", jnp.full_like(x_t, 0.5))

    return Bound(net, None, OBS.with_cond(image=jnp.full((2, *SHAPE), 0.9)))


@pytest.mark.parametrize("spec", guidance.EXAMPLES, ids=str)
def test_guided_denoiser_is_a_denoiser(world, key, spec):
    x_t = world.sample(key, 2)
    guided = jax.jit(build(spec)(conditional(world), OBS))
    for sigma in (jnp.asarray(0.3), jnp.asarray([0.3, 0.0])):
        assert guided(x_t, sigma).shape == x_t.shape
    both = guided(x_t, jnp.asarray([0.3, 2.0]))
    for i, sigma in enumerate((0.3, 2.0)):
        np.testing.assert_allclose(both[i], guided(x_t, jnp.asarray(sigma))[i], atol=4 * ULP)


def test_threshold_clips_what_leaves_and_keeps_what_stays(world, key):
    x_t, sigma = world.sample(key, 2), jnp.asarray(0.05)
    plain = world.denoise(x_t, sigma)
    guided = Threshold(0.3, 0.7)(world.denoise, OBS)(x_t, sigma)
    np.testing.assert_array_equal(guided, np.minimum(np.maximum(plain, np.float32(0.3)), np.float32(0.7)))
    assert (plain < 0.3).any()
    assert (plain > 0.7).any()
    wide = Threshold(-10.0, 10.0)(world.denoise, OBS)(x_t, sigma)
    np.testing.assert_array_equal(wide, plain)


def test_dynamic_threshold_leaves_pictures_alone_and_compresses_what_strays(key):
    inside, sigma = jax.random.uniform(key, (2, *SHAPE)), jnp.asarray(1.0)
    stray = 0.5 + 1.7 * (inside - 0.5) * jnp.asarray([1.0, 4.0])[:, None, None, None]
    same = DynamicThreshold()(lambda x, _: x, OBS)(inside, sigma)
    np.testing.assert_allclose(same, inside, atol=2 * ULP)
    bounded = np.asarray(DynamicThreshold(1.0)(lambda x, _: x, OBS)(stray, sigma))
    for i in range(2):  # by hand, and each picture by itself
        z = 2 * np.asarray(stray[i]) - 1
        np.testing.assert_allclose(bounded[i], 0.5 + 0.5 * z / max(1, np.abs(z).max()), atol=4 * ULP)
    assert bounded.min() >= -2 * ULP
    assert bounded.max() <= 1 + 2 * ULP
    half = np.asarray(DynamicThreshold(0.5)(lambda x, _: x, OBS)(5 * stray, sigma))
    assert ((half < 1e-6) | (half > 1 - 1e-6)).mean() >= 0.5  # beyond the median, everything is at an end


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_classifier_free_extrapolates_from_no_condition(world, key, scale):
    x_t, sigma, denoise = world.sample(key, 2), jnp.asarray(0.3), conditional(world)
    guided = ClassifierFree(scale)(denoise, OBS)(x_t, sigma)
    without, with_it = world.denoise(x_t, sigma) + 0.05, world.denoise(x_t, sigma) + 0.09
    np.testing.assert_allclose(guided, without + scale * (with_it - without), atol=8 * ULP)


def test_classifier_free_sharpens_the_condition_s_likelihood(world, key):
    """Ho & Salimans, eq. 5: the guided score is that of p(x | y) p(y | x)^(scale - 1), here a Gaussian too.

    With y = x + 0.5 n, `D(cond)` is the posterior mean of the world given x_t and y. The guided answer is then the
    posterior mean under a likelihood of `scale` times the precision only where Gaussians are isotropic, which this is.
    """
    d, std, sigma, scale = 0.3, 0.5, 0.4, 2.0
    flat = GaussianWorld(jnp.full(SHAPE, 0.5), jnp.eye(12), jnp.full(12, d**2))
    y, x_t = flat.sample(key, 2), flat.sample(jax.random.key(1), 2)

    def net(params, x_t, sigma, obs):
        del params
        precision = 1 / d**2 + 1 / sigma**2
        total = 0.5 / d**2 + x_t / sigma**2
        if "image" in obs.cond:
            return (total + obs.cond["image"] / std**2) / (precision + 1 / std**2)
        return total / precision

    guided = ClassifierFree(scale)(Bound(net, None, OBS.with_cond(image=y)), OBS)(x_t, jnp.asarray(sigma))
    score = (guided - x_t) / sigma**2
    # Written out: s(x_t) + scale grad log p(y | x_t), where y | x_t ~ N(D, v + std^2), D = m + k (x_t - m).
    k = d**2 / (d**2 + sigma**2)
    answer = 0.5 + k * (x_t - 0.5)
    likelihood = k * (y - answer) / (d**2 * sigma**2 / (d**2 + sigma**2) + std**2)
    np.testing.assert_allclose(score, (answer - x_t) / sigma**2 + scale * likelihood, rtol=1e-4, atol=1e-4)


def test_outside_the_interval_nothing_is_guided_nor_evaluated(world, key):
    x_t, calls, denoise = world.sample(key, 2), [], conditional(world)

    def weak(obs):
        def answer(x, sigma):
            jax.debug.callback(lambda: calls.append(1))
            return 0 * x

        return answer

    guided = Autoguidance(weak, 2.0, low=0.2, high=0.5)(denoise, OBS)
    for sigma, inside in ((0.1, False), (0.2, True), (0.4, True), (0.5, False)):
        calls.clear()
        wanted = (2 if inside else 1) * denoise(x_t, jnp.asarray(sigma))
        np.testing.assert_allclose(guided(x_t, jnp.asarray(sigma)), wanted, rtol=4 * ULP)
        jax.effects_barrier()
        assert len(calls) == inside


def test_classifier_free_needs_a_denoiser_that_can_be_asked_again(world):
    with pytest.raises(ValueError, match="asked without its conditions"):
        ClassifierFree()(world.denoise, OBS)


def test_a_model_that_is_the_image_s_residual_cannot_do_without_it(key):
    with pytest.raises(ValueError, match='around = "grey"'):
        Edm(around="image").to_net(jnp.zeros((2, *SHAPE)), jnp.ones(2), OBS)


@pytest.mark.parametrize("wrong", [{"low": 1.0, "high": 0.5}, {"low": -1.0}])
def test_an_interval_is_an_interval(wrong):
    with pytest.raises(ValueError, match="low < high"):
        ClassifierFree(**wrong)
