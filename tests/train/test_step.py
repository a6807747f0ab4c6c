"""The step against its parts done by hand, and its independence of how a batch is made up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, split
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


@pytest.fixture(scope="module")
def step(parts):
    """The one compiled step that most tests share."""
    method, degrade, optimizer, _, _ = parts
    return jax.jit(make_step(method, degrade, optimizer, 16))


def near(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=rtol, atol=atol), a, b)


def test_one_step_is_its_parts(parts, step):
    method, degrade, _, state, images = parts
    after, metrics = step(state, images)

    x = jnp.asarray(images, jnp.float32) / 255
    keys = jnp.stack([jax.random.fold_in(jax.random.fold_in(state.key, 0), i) for i in range(4)])
    key_degrade, key_loss = split(keys)
    obs = jax.vmap(degrade)(key_degrade, x)
    loss, grads = jax.jit(jax.value_and_grad(lambda p: method.loss(p, state, obs, x, key_loss)[0]))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
    # Sums of a few thousand float32 terms in another order: some 1e-6 of a gradient of order one, times the rate.
    near(after.params, expected)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    decay = ema_decay(jnp.int32(0), 4, 16)
    near(after.ema, jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.params, expected))
    assert int(after.step) == 1
    assert metrics["skipped"] == 0.0


def test_the_step_draws_anew_each_time(parts, step):
    _, _, _, state, images = parts
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


class Line:
    """A method of two numbers whose loss, gradient and non-finite places are known by hand.

    loss = mean over images of |w - mean(x_i)|^2 / 2 + v   (and v's gradient is 1, or not finite where w > 1)
    """

    def init(self, key, obs, x):
        return {"v": jnp.zeros(()), "w": jnp.zeros((2,))}

    def loss(self, params, state, obs, x, key):
        mean = jnp.mean(x, axis=(1, 2, 3))[:, None]
        slope = jnp.where(params["w"][0] > 1.0, jnp.nan, 1.0)
        loss = jnp.mean(jnp.sum((params["w"][None] - mean) ** 2, -1)) / 2 + slope * params["v"]
        return loss, {"bf": jnp.bfloat16(1.5)}

    def restorer(self, params):
        return lambda key, obs: obs.y


@pytest.fixture
def line():
    degrade = lambda key, x: Observation(x)
    state = create_state(Line(), degrade, optax.sgd(0.5, momentum=0.9), jax.random.key(0), (2, 2, 3))
    images = np.arange(6 * 12, dtype=np.uint8).reshape(6, 2, 2, 3)
    return lambda **fields: make_step(Line(), degrade, optax.sgd(0.5, momentum=0.9), 10, **fields), state, images


@pytest.mark.parametrize("accumulate", [2, 3])
def test_parts_of_a_batch_are_the_batch(line, accumulate):
    make, state, images = line
    whole, logged = jax.jit(make())(state, images)
    cut, parts = jax.jit(make(accumulate=accumulate))(state, images)
    near((cut.params, cut.opt_state, parts), (whole.params, whole.opt_state, logged), rtol=1e-6, atol=0)
    assert float(jnp.abs(cut.params["w"]).min()) > 0.01


@pytest.mark.soak
def test_parts_of_a_batch_are_the_batch_for_a_network(parts, step):
    method, degrade, optimizer, state, images = parts
    whole, _ = step(state, images)
    cut, _ = jax.jit(make_step(method, degrade, optimizer, 16, accumulate=2))(state, images)
    near(cut.params, whole.params)


def test_parts_that_do_not_divide(line):
    make, state, images = line
    with pytest.raises(ValueError, match=r"make_step.accumulate must divide the batch of a device, 6, and is 4"):
        jax.eval_shape(make(accumulate=4), state, images)
    with pytest.raises(ValueError, match=r"make_step.accumulate must be 1 or above, not 0"):
        make(accumulate=0)
    with pytest.raises(ValueError, match=r"make_step.remat must be one of none, full, dots, not 'half'"):
        jax.eval_shape(make(remat="half"), state, images)


def test_a_bad_number_moves_nothing_but_the_step(line):
    make, state, images = line
    tracks = {"ema_tracks": {"0.1": state.params}}
    state = state.replace(params={"v": jnp.zeros(()), "w": jnp.full((2,), 2.0)}, aux=tracks)
    after, metrics = jax.jit(make())(state, images)
    assert metrics["skipped"] == 1.0
    assert not np.isfinite(metrics["loss"])
    for name in ("params", "ema", "opt_state", "aux"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(state, name))
    assert int(after.step) == 1

    after, metrics = jax.jit(make(skip_nonfinite=False))(state, images)
    assert metrics["skipped"] == 0.0
    assert np.isnan(after.params["v"])


def test_a_finite_loss_with_a_bad_gradient_is_skipped_too(line):
    """sqrt at 0 has an infinite slope under a finite value."""
    _, state, images = line

    class Edge(Line):
        def loss(self, params, state, obs, x, key):
            return jnp.sqrt(params["v"]) + 0.0 * jnp.mean(x), {}

    degrade = lambda key, x: Observation(x)
    after, metrics = jax.jit(make_step(Edge(), degrade, optax.sgd(0.5, momentum=0.9), 10))(state, images)
    assert np.isfinite(metrics["loss"])
    assert metrics["skipped"] == 1.0
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


def test_the_rate_of_the_state_multiplies_the_update(line):
    make, state, images = line
    step = jax.jit(make())
    whole, _ = step(state, images)
    half, _ = step(state.replace(aux={"rate": jnp.float32(0.25)}), images)
    near(half.params, jax.tree.map(lambda p: 0.25 * p, whole.params), rtol=1e-6, atol=0)  # both start at 0
    near(half.opt_state, whole.opt_state, rtol=0, atol=0)
    assert half.aux["rate"] == 0.25


def test_metrics_are_float32(line):
    make, state, images = line
    _, metrics = jax.eval_shape(make(), state, images)
    assert {str(m.dtype) for m in metrics.values()} == {"float32"}
    assert set(metrics) == {"loss", "bf", "grad_norm", "skipped"}


def test_nothing_is_retraced(line):
    make, state, images = line
    count = 0

    def counted(*args):
        nonlocal count
        count += 1
        return make()(*args)

    step = jax.jit(counted)
    for _ in range(3):
        state, _ = step(state, images)
    assert count == 1
