"""The step against its parts done by hand, and its independence of how a batch is made up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restore_jax.build import build
from restore_jax.core import split
from restore_jax.train.ema import ema_decay
from restore_jax.train.step import create_state, make_step
from tests.train.tiny import DIFFUSION, NOISE


@pytest.fixture(scope="module")
def parts():
    method, degrade = build(DIFFUSION), build(NOISE)
    optimizer = optax.sgd(0.1)
    state = create_state(method, degrade, optimizer, jax.random.key(3), (16, 16, 3))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    return method, degrade, optimizer, state, images


def test_one_step_is_its_parts(parts):
    method, degrade, optimizer, state, images = parts
    after, metrics = jax.jit(make_step(method, degrade, optimizer, 16))(state, images)

    x = jnp.asarray(images, jnp.float32) / 255
    keys = jnp.stack([jax.random.fold_in(jax.random.fold_in(state.key, 0), i) for i in range(4)])
    key_degrade, key_loss = split(keys)
    obs = jax.vmap(degrade)(key_degrade, x)
    loss, grads = jax.jit(jax.value_and_grad(lambda p: method.loss(p, state, obs, x, key_loss)[0]))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
    # Sums of a few thousand float32 terms in another order: some 1e-6 of a gradient of order one, times the rate.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.params, expected)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    decay = ema_decay(jnp.int32(0), 4, 16)
    average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.params, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.ema, average)
    assert int(after.step) == 1


def test_the_step_draws_anew_each_time(parts):
    method, degrade, optimizer, state, images = parts
    step = jax.jit(make_step(method, degrade, optimizer, 16))
    first, again = step(state, images)[1]["loss"], step(state, images)[1]["loss"]
    later = step(step(state, images)[0].replace(params=state.params, ema=state.ema), images)[1]["loss"]
    assert first == again
    assert first != later


def test_half_life():
    """After half_life images, half of what the average was is left."""
    batch, half_life = 8, 800
    left = np.prod([float(ema_decay(jnp.int32(10**6 + k), batch, half_life)) for k in range(half_life // batch)])
    assert left == pytest.approx(0.5, rel=1e-5)
    assert float(ema_decay(jnp.int32(0), batch, half_life)) == pytest.approx(0.1)


def test_nothing_is_retraced(parts):
    method, degrade, optimizer, state, images = parts
    count = 0

    def counted(*args):
        nonlocal count
        count += 1
        return make_step(method, degrade, optimizer, 16)(*args)

    step = jax.jit(counted)
    for _ in range(3):
        state, _ = step(state, images)
    assert count == 1
