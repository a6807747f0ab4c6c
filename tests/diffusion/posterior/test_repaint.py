"""RePaint: the law of its noise where the truth is known, and what it does to what was seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.linear import Separable
from restore_jax.degrade.mask import Mask
from restore_jax.diffusion.posterior.repaint import RePaint
from restore_jax.diffusion.sampler import Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler, Heun
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (2, 2, 2)
MASK = jnp.asarray([[1.0, 0.0], [1.0, 1.0]])[..., None]
N = 20_000


def test_noise_has_the_level_in_both_parts(key):
    """`x_t ~ N(x, t^2)` if D answers the truth x and x_s has level s, y noise or no: within 4.5 standard errors.

    8 means and 36 second moments: passed by chance once in 3,000.
    """
    operator, x = Mask(in_shape=SHAPE, mask=MASK), jax.random.uniform(key, SHAPE)

    def move(key):
        key_y, key_x, key_step = jax.random.split(key, 3)
        obs = Observation(operator(x + 0.3 * jax.random.normal(key_y, SHAPE)), operator, 0.3)
        x_s = x + jax.random.normal(key_x, SHAPE)
        return RePaint(3).under(obs)(key_step, lambda x_t, sigma: x, x_s, jnp.ones(()), jnp.asarray(0.5))

    x_t = np.asarray(jax.jit(jax.vmap(move))(jax.random.split(key, N)), np.float64)
    z = (x_t - np.asarray(x)[None]).reshape(N, -1) / 0.5
    assert np.abs(z.mean(0)).max() * np.sqrt(N) < 4.5
    assert (np.abs(z.T @ z / N - np.eye(8)) / np.sqrt((1 + np.eye(8)) / N)).max() < 4.5


@pytest.mark.parametrize(
    "operator",
    [
        Mask(in_shape=SHAPE, mask=MASK),
        Separable(in_shape=SHAPE, rows=jnp.asarray([[0.25, 0.75]]), cols=jnp.eye(2)),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_without_noise_it_ends_at_what_was_seen(key, operator):
    """`A (x + A^+ (y - A x)) = y`, to a few roundings."""
    world = GaussianWorld.draw(key, SHAPE)
    y = operator(world.sample(key, 1)[0])
    sample = Ode(RePaint(2), Karras(0.01, 20.0), 3)
    x = jax.jit(lambda key: sample(key, world.denoise, Observation(y, operator)))(key)
    np.testing.assert_allclose(operator(x), y, rtol=0, atol=1e-5)


def test_renewal_brings_the_unseen_part_towards_the_posterior(key):
    """The bias of the mean, of 1,024 samples: it is not exact, but falls with `resamples`.

    A standard error is 0.5 / 32 < 0.016 at most.
    """
    world = GaussianWorld.draw(key, SHAPE, low=0.05)
    operator = Mask(in_shape=SHAPE, mask=MASK)
    y = operator(world.mean + 1.0)
    mean, _ = world.posterior(operator, y, 0.0)

    def bias(resamples):
        sample = Ode(RePaint(resamples), Karras(0.02, 5.0), 8)
        keys = jax.random.split(key, 1024)
        x = jax.jit(jax.vmap(lambda key: sample(key, world.denoise, Observation(y, operator))))(keys)
        return np.sqrt(np.mean((x.mean(0) - mean) ** 2))

    once, often = bias(1), bias(8)
    print(f"bias of the mean: {once:.3f} made once, {often:.3f} made 8 times")
    assert often < 0.6 * once


def test_where_nothing_is_seen_it_is_the_step(key):
    world = GaussianWorld.draw(key, SHAPE)
    x, s, t = world.sample(key, 1)[0], jnp.asarray(0.5), jnp.asarray(0.2)
    blind = Observation(jnp.zeros(SHAPE), Mask(in_shape=SHAPE, mask=jnp.zeros((2, 2, 1))))
    moved = RePaint(1).under(blind)(key, world.denoise, x, s, t)
    np.testing.assert_allclose(moved, Euler()(key, world.denoise, x, s, t), atol=1e-6)


def test_a_batch_has_a_level_an_image(key):
    """At level 0 what is seen is y; above it, it is not."""
    x = jax.random.uniform(key, (2, *SHAPE))
    operators = jax.vmap(lambda mask: Mask(in_shape=SHAPE, mask=mask))(jnp.stack([MASK, 1 - MASK]))
    obs = Observation(jax.vmap(lambda a, x: a(x))(operators, x), operators, jnp.zeros((2, 1, 1, 1)))
    step = RePaint(2).under(obs)
    x_t = step(jax.random.split(key), lambda x_t, sigma: 0 * x_t, x, jnp.ones(2), jnp.asarray([0.0, 0.5]))
    off = np.abs(jax.vmap(lambda a, x: a(x))(operators, x_t) - obs.y).max((1, 2, 3))
    assert off[0] < 1e-6 < 0.01 < off[1]


def test_nfe_counts_every_renewal():
    assert RePaint(3).nfe(5) == 15
    assert RePaint(3, Heun()).nfe(5) == 27


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"RePaint\.resamples must be a whole number >= 1, not 0"):
        RePaint(0)
    with pytest.raises(ValueError, match="RePaint needs the linear operator"):
        RePaint().under(Observation(jnp.zeros(SHAPE)))
