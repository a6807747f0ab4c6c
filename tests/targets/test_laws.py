"""What every target owes: shapes, independence of neighbours, determinism, and no gradient through its answer."""

import functools
import importlib
import json
import pkgutil
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import restore_jax.targets
from restore_jax.build import build
from restore_jax.core import Observation, Supervision, Target, TrainState, split
from restore_jax.diffusion.precondition import Edm
from restore_jax.diffusion.sampler import Consistency
from restore_jax.methods.regression import Regression, lift
from restore_jax.targets.clean import Clean

SHAPE = (3, 4, 4, 3)
EXAMPLES = [
    spec
    for module in pkgutil.walk_packages(restore_jax.targets.__path__, "restore_jax.targets.")
    for spec in getattr(importlib.import_module(module.name), "EXAMPLES", ())
]
laws = pytest.mark.parametrize("spec", EXAMPLES, ids=str)


class Pixel(nn.Module):
    """The least network: each pixel by itself, with the level, the level it is to jump to, and the condition."""

    @nn.compact
    def __call__(self, x, c_noise, cond):
        levels = jnp.stack([c_noise, c_noise], axis=-1) if c_noise.ndim == 1 else c_noise
        level = jnp.broadcast_to(levels[:, None, None, :], (*x.shape[:-1], 2))
        return jnp.tanh(nn.Dense(x.shape[-1])(jnp.concatenate([x, level, cond], -1)))


def squared(x_hat, x):
    return jnp.mean((x_hat - x) ** 2, axis=(-3, -2, -1))


@functools.cache
def world():
    """(method whose target is yet to be replaced, parameters, state at step 55, observation, pictures)."""
    key = jax.random.key(0)
    x = jax.random.uniform(key, SHAPE)
    obs = lift(Observation(y=x + 0.1), 1)
    method = Regression(Pixel(), Edm(), Clean(), squared, Consistency())
    params, ema, teacher = (method.init(k, obs, x) for k in split(key, 3))
    return method, params, TrainState(jnp.asarray(55), params, ema, (), key, {"teacher": teacher}), obs, x


@pytest.fixture
def case():
    return world()


@functools.cache
def _supervise(spec: str):
    target, evaluate = build(json.loads(spec)), world()[0].evaluate
    return jax.jit(lambda key, state, obs, x: target(key, evaluate, state, obs, x))


def supervise(spec):
    """`(key, state, obs, x)` to what the target says: laws share what is compiled once."""
    return _supervise(json.dumps(spec))


def test_there_are_examples():
    assert {spec["name"].split(".")[1] for spec in EXAMPLES} >= {"clean", "denoise", "distill", "ect"}


@laws
def test_supervision_has_the_batch_s_shapes(spec, case, key):
    _, _, state, obs, x = case
    assert isinstance(build(spec), Target)
    said = supervise(spec)(split(key, 3), state, obs, x)
    with_one_key = jax.eval_shape(supervise(spec), key, state, obs, x)
    assert jax.tree.map(jnp.shape, said) == jax.tree.map(jnp.shape, with_one_key)
    x_t, sigma = said.inputs
    assert x_t.shape == said.target.shape == SHAPE
    assert sigma.shape == said.weight.shape == SHAPE[:1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(said))
    assert (said.weight > 0).all()
    assert (sigma >= 0).all()


@laws
def test_supervision_does_not_know_its_neighbours(spec, case, key):
    """With a key an example; the program of one example is another trace than that of three."""
    _, _, state, obs, x = case
    say, keys = supervise(spec), split(key, 3)
    together = say(keys, state, obs, x)
    one, i = jax.tree.map(lambda leaf: leaf[1:2], obs), slice(1, 2)
    alone = say(keys[i], state, one, x[i])
    again = say(keys[i], state, one, x[i])
    other = say(keys[:1], state, one, x[i])
    for a, b, c in zip(jax.tree.leaves(together), jax.tree.leaves(alone), jax.tree.leaves(again)):
        # The level is an exp of up to 10, and what follows multiplies it: some ten roundings of either kind.
        np.testing.assert_allclose(a[i], b, rtol=2e-5, atol=2e-5)
        np.testing.assert_array_equal(b, c)
    if spec["name"] != "targets.clean.Clean":
        assert np.abs(other.inputs[0] - alone.inputs[0]).max() > 1e-4  # the key matters


@pytest.mark.soak  # two seconds a target: it compiles every operation by itself
@laws
def test_jit_changes_nothing(spec, case, key):
    method, _, state, obs, x = case
    keys = split(key, 3)
    eager = build(spec)(keys, method.evaluate, state, obs, x)
    again = build(spec)(keys, method.evaluate, state, obs, x)
    for a, b, c in zip(*map(jax.tree.leaves, (supervise(spec)(keys, state, obs, x), eager, again))):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)  # as above
        np.testing.assert_array_equal(b, c)


def gradients(spec, case, key):
    """Of the loss with the whole state depending on the parameters; and with the supervision a constant."""
    method, params, state, obs, x = case
    method = replace(method, target=build(spec))
    said = supervise(spec)(key, state.replace(ema=params, frozen={"teacher": params}), obs, x)

    def through(p):
        return method.loss(p, state.replace(params=p, ema=p, frozen={"teacher": p}), obs, x, key)[0]

    def frozen(p, said: Supervision):
        asked = obs.with_cond(**said.cond)
        return jnp.mean(said.weight * squared(method.evaluate(p, *said.inputs, asked), said.target))

    return jax.jit(jax.grad(through))(params), jax.jit(jax.grad(frozen))(params, said)


@laws
def test_no_gradient_flows_through_what_is_said(spec, case, key):
    for a, b in zip(*map(jax.tree.leaves, gradients(spec, case, key))):
        # Two programs of the same sums over 3 x 16 pixels: rounding, relative to the largest entry.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_a_gradient_through_the_answer_is_found(case, key, monkeypatch):
    monkeypatch.setattr(jax.lax, "stop_gradient", lambda tree: tree)
    spec = next(spec for spec in EXAMPLES if spec["name"] == "targets.ect.Ect")
    with pytest.raises(AssertionError):
        test_no_gradient_flows_through_what_is_said(spec, case, key)
