from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Method, Observation, Restorer, TrainState, normal, split
from restore_jax.diffusion.guidance import Threshold
from restore_jax.diffusion.precondition import Edm, Residual
from restore_jax.diffusion.sampler import Consistency, Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Heun
from restore_jax.methods.regression import Cubic, Regression, lift
from restore_jax.ops.resize import resize
from restore_jax.targets.clean import Clean
from restore_jax.targets.denoise import Denoise
from restore_jax.targets.ect import Ect

SHAPE = (4, 6, 5, 3)
ULP = np.finfo(np.float32).eps


class Pixel(nn.Module):
    """The least network: each pixel by itself, with the level and the condition."""

    factor = 4
    receptive_px = 7

    @nn.compact
    def __call__(self, x, c_noise=None, cond=None):
        seen = [x] if cond is None else [x, cond]
        if c_noise is not None:
            seen.append(jnp.broadcast_to(c_noise[:, None, None, None], (*x.shape[:-1], 1)))
        return nn.Dense(x.shape[-1])(jnp.concatenate(seen, -1))


def squared(x_hat, x):
    return jnp.mean((x_hat - x) ** 2, axis=(-3, -2, -1))


DIFFUSION = Regression(Pixel(), Edm(), Denoise(), squared, Consistency((80.0, 1.0)))
SUPERVISED = Regression(Pixel(), Residual(), Clean(), squared, Consistency((0.0,), "image"))
TUNED = Regression(Pixel(), Edm(), Ect(stage_steps=1), squared, Consistency((80.0,)))
METHODS = {"diffusion": DIFFUSION, "supervised": SUPERVISED, "tuned": TUNED}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def state(params, key) -> TrainState:
    return TrainState(jnp.asarray(4), params, params, (), key)


def batch(key) -> tuple[Observation, jax.Array]:
    x = jax.random.uniform(key, SHAPE)
    return Observation(y=0.8 * x), x


def noisy(obs: Observation, key, draws: int) -> Observation:
    return obs.with_cond(noise=jax.random.normal(key, (*SHAPE[:-1], 3 * draws))) if draws else obs


# ------------------------------------------------------------------------------- the loss


def test_supervised_loss_by_hand(key):
    """`mean (y + W (y - 1/2) + b - x)^2`, in numpy."""
    obs, x = batch(key)
    params = SUPERVISED.init(key, obs, x)
    params["Dense_0"]["bias"] += 0.3
    loss, logged = SUPERVISED.loss(params, state(params, key), obs, x, key)
    w, b = (np.asarray(params["Dense_0"][part], np.float64) for part in ("kernel", "bias"))
    y = np.asarray(obs.y, np.float64)
    by_hand = np.mean((y + (y - 0.5) @ w + b - np.asarray(x)) ** 2)
    np.testing.assert_allclose(loss, by_hand, rtol=20 * ULP)  # a sum of 360 squares, in pairs
    np.testing.assert_allclose(logged["distance"], by_hand, rtol=20 * ULP)


@dataclass(frozen=True)
class Scripted:
    """A target whose every word is known."""

    said: object

    def __call__(self, key, net, state, obs, x):
        return self.said


def test_weighted_loss_by_hand(key):
    """Weights 1, 2, 0, 5 on distances that are each a mean over one picture; the log is unweighted."""
    obs, x = batch(key)
    params = DIFFUSION.init(key, obs, x)
    said = Denoise()(key, DIFFUSION.evaluate, state(params, key), obs, x)
    said = said.replace(weight=jnp.asarray([1.0, 2.0, 0.0, 5.0]))
    method = Regression(DIFFUSION.net, DIFFUSION.precondition, Scripted(said), squared, DIFFUSION.sampler)
    loss, logged = method.loss(params, state(params, key), obs, x, key)
    x_t, sigma = (np.asarray(part, np.float64) for part in said.inputs)
    sigma = sigma[:, None, None, None]
    w, b = (np.asarray(params["Dense_0"][part], np.float64) for part in ("kernel", "bias"))
    total = np.sqrt(sigma**2 + 0.25**2)
    level = np.broadcast_to(np.log(sigma) / 4, (*x.shape[:-1], 1))
    seen = np.concatenate([(x_t - 0.5) / total, np.asarray(obs.y) - 0.5, level], -1)
    x_hat = 0.5 + 0.25**2 / total**2 * (x_t - 0.5) + 0.25 * sigma / total * (seen @ w + b)
    distance = np.mean((x_hat - np.asarray(x)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(loss, np.mean([1, 2, 0, 5] * distance), rtol=50 * ULP)
    np.testing.assert_allclose(logged["distance"], distance.mean(), rtol=50 * ULP)


@methods
def test_the_loss_of_a_batch_is_the_mean_over_its_halves(key, method):
    """With a key an example: so a step does not depend on how many devices share it."""
    obs, x = batch(key)
    params, keys = method.init(key, obs, x), jax.random.split(key, 4)
    loss = lambda i: method.loss(params, state(params, key), Observation(y=obs.y[i]), x[i], keys[i])[0]
    halves = (loss(slice(0, 2)) + loss(slice(2, 4))) / 2
    np.testing.assert_allclose(loss(slice(0, 4)), halves, rtol=20 * ULP)
    if method is not SUPERVISED:
        swapped = method.loss(params, state(params, key), obs, x, keys[::-1])[0]
        assert abs(swapped - halves) > 1e-3 * halves  # it is the keys that decide


@methods
def test_method_is_a_method_and_starts_alike(key, method):
    obs, x = batch(key)
    assert isinstance(method, Method)
    a, b = method.init(key, obs, x), method.init(key, obs, x)
    jax.tree.map(np.testing.assert_array_equal, a, b)


# ------------------------------------------------------------------------------- the restorer


@methods
def test_what_was_learned_is_a_restorer(key, method):
    obs, x = batch(key)
    restorer = method.restorer(method.init(key, obs, x))
    assert isinstance(restorer, Restorer)
    assert (restorer.scale, restorer.draws, restorer.nfe) == (1, method.sampler.draws, method.sampler.nfe)
    assert restorer.factor == 4
    assert restorer.halo_px == 7 * restorer.nfe
    lifted = lift(noisy(obs, key, restorer.draws), 1)
    x_hat = restorer(key, lifted)
    assert x_hat.shape == SHAPE  # whose sides 4 does not divide: this net looks at each pixel alone
    np.testing.assert_allclose(
        x_hat, method.sampler(key, method.denoiser(restorer.params, lifted), lifted), rtol=1e-5, atol=1e-5
    )


def test_drawn_noise_is_that_of_the_first_key(key):
    obs, x = batch(key)
    restorer = DIFFUSION.restorer(DIFFUSION.init(key, obs, x))
    drawn = normal(split(key)[0], (*SHAPE[:-1], 3 * restorer.draws))
    np.testing.assert_array_equal(restorer(key, obs), restorer(key, obs.with_cond(noise=drawn)))


def test_another_sampler_restores_the_same_params(key):
    obs, x = batch(key)
    params = DIFFUSION.init(key, obs, x)
    ode = Ode(Heun(), Karras(0.1, 1.0), 3)
    restorer = DIFFUSION.restorer(params, ode)
    assert (restorer.draws, restorer.nfe) == (1, 5)
    lifted = lift(noisy(obs, key, 1), 1)
    np.testing.assert_allclose(
        restorer(key, lifted), ode(key, DIFFUSION.denoiser(params, lifted), lifted), rtol=1e-5, atol=1e-5
    )


def test_a_restored_picture_is_scale_times_as_large(key):
    method = Regression(Pixel(), Residual(), Clean(), squared, Consistency((0.0,), "image"), scale=2)
    x = jax.random.uniform(key, (2, 8, 8, 3))
    obs = Observation(y=x[:, ::2, ::2])
    params = jax.tree.map(jnp.zeros_like, method.init(key, obs, x))
    restorer = method.restorer(params)
    assert restorer.scale == 2
    assert restorer.halo_px == 7 + 6
    np.testing.assert_allclose(restorer(key, obs), resize(obs.y, 8, 8), atol=4 * ULP)  # y + 0
    loss, _ = method.loss(params, state(params, key), obs, x, key)
    np.testing.assert_allclose(loss, np.mean((resize(obs.y, 8, 8) - x) ** 2), rtol=20 * ULP)


def test_guidance_is_applied_in_turn_to_the_denoiser_and_not_to_the_loss(key):
    obs, x = batch(key)
    guided = Regression(
        *(Pixel(), Residual(), Clean(), squared, Consistency((0.0,), "image")),
        guidance=(Threshold(0.2, 0.8), Threshold(0.4, 2.0)),
    )
    params = SUPERVISED.init(key, obs, x)
    plain = np.asarray(SUPERVISED.restorer(params)(key, obs))
    np.testing.assert_array_equal(guided.restorer(params)(key, obs), plain.clip(0.2, 0.8).clip(0.4, 2.0))
    assert plain.min() < 0.4
    assert plain.max() > 0.8
    losses = [method.loss(params, state(params, key), obs, x, key)[0] for method in (guided, SUPERVISED)]
    assert losses[0] == losses[1]


# ------------------------------------------------------------------------------- the lift


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_lift_brings_y_to_the_grid_of_x(key, scale):
    obs = Observation(y=jax.random.uniform(key, (2, 3, 4, 3)), noise_std=0.1).with_cond(noise=jnp.ones((2, 1, 1, 1)))
    lifted = lift(obs, scale)
    assert lifted.x_shape == (2, 3 * scale, 4 * scale, 3)
    assert set(lifted.cond) == {"noise", "image"}
    np.testing.assert_array_equal(lifted.y, obs.y)
    if scale == 1:
        np.testing.assert_array_equal(lifted.cond["image"], obs.y)
    constant = lift(obs.replace(y=jnp.full((2, 3, 4, 3), 0.4)), scale).cond["image"]
    np.testing.assert_allclose(constant, np.full(constant.shape, 0.4), rtol=10 * ULP)


@pytest.mark.parametrize("scale", [1, 2])
def test_cubic_answers_the_lift_and_sees_no_further_than_its_halo(key, scale):
    y = jax.random.uniform(key, (1, 12, 12, 1))
    cubic = Cubic(scale)
    assert isinstance(cubic, Restorer)
    assert (cubic.draws, cubic.nfe) == (0, 0)
    x_hat = cubic(key, Observation(y=y))
    np.testing.assert_array_equal(x_hat, lift(Observation(y=y), scale).cond["image"])
    poked = cubic(key, Observation(y=y.at[0, 6, 6, 0].add(1.0)))
    rows, cols = np.nonzero(np.asarray(poked != x_hat)[0, ..., 0])
    first, last = 6 * scale, 7 * scale - 1  # the pixels of x that pixel 6 of y covers
    assert rows.size > 0
    for seen in (rows, cols):
        assert first - cubic.halo_px <= seen.min() <= seen.max() <= last + cubic.halo_px
