"""What every restoring network owes, called as `net(x, c_noise, cond)`: any size, no neighbours, honest reach."""

import functools
import importlib
import json
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import restore_jax.nets
from restore_jax.build import build

EXAMPLES = [
    spec
    for module in pkgutil.walk_packages(restore_jax.nets.__path__, "restore_jax.nets.")
    for spec in getattr(importlib.import_module(module.name), "EXAMPLES", ())
]
laws = pytest.mark.parametrize("spec", EXAMPLES, ids=json.dumps)
ULP = np.finfo(np.float32).eps
C_NOISE = jnp.asarray([-1.5, 0.7])


def pictures(h: int, w: int, n: int = 2) -> tuple[jax.Array, jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(h), 2)
    x, cond = (jax.random.normal(key, (n, h, w, 3)) for key in keys)
    return x, C_NOISE[:n], cond


@functools.cache
def _loaded(spec: str):
    net = build(json.loads(spec))
    leaves, tree = jax.tree.flatten(jax.eval_shape(net.init, jax.random.key(0), *pictures(8, 8))["params"])
    rng = np.random.default_rng(0)

    def draw(leaf):
        if leaf.ndim < 2:
            return jnp.asarray(0.5 + 0.3 * rng.normal(size=leaf.shape), leaf.dtype)
        return jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1])), leaf.dtype)

    return net, jax.tree.unflatten(tree, [draw(leaf) for leaf in leaves])


@functools.cache
def _jitted(spec: str):
    net, params = _loaded(spec)
    return jax.jit(lambda *inputs: net.apply({"params": params}, *inputs))


def loaded(spec):
    """The net, and parameters that are all at random: a fresh net hides behind its zeros."""
    return _loaded(json.dumps(spec))


def jitted(spec):
    return _jitted(json.dumps(spec))


def test_there_are_examples():
    assert {spec["name"] for spec in EXAMPLES} >= {"nets.unet.UNet", "nets.nafnet.NAFNet"}


@laws
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 12), (33, 20)], ids=str)
def test_any_size_comes_back(spec, size):
    net, params = loaded(spec)
    inputs = pictures(*size)
    out = jax.eval_shape(lambda *inputs: net.apply({"params": params}, *inputs), *inputs)
    assert out.shape == (2, *size, 3)
    assert out.dtype == jnp.float32


@laws
def test_a_picture_does_not_know_its_neighbours(spec):
    x, c_noise, cond = pictures(7, 5)
    out = jitted(spec)(x, c_noise, cond)
    assert np.isfinite(out).all()
    other = jitted(spec)(x.at[0].add(1.0), c_noise.at[0].add(1.0), cond.at[0].add(1.0))
    np.testing.assert_array_equal(other[1], out[1])
    assert np.abs(other[0] - out[0]).max() > 1e-3 * np.abs(out).max()


@laws
def test_jit_changes_nothing(spec):
    net, params = loaded(spec)
    inputs = pictures(7, 5)
    eager = net.apply({"params": params}, *inputs)  # op by op
    # Some 20 layers, each a sum of up to 200 products in another order: 20 sqrt(200) roundings.
    np.testing.assert_allclose(jitted(spec)(*inputs), eager, rtol=0, atol=300 * ULP * np.abs(eager).max())


@laws
def test_inputs_matter_and_the_level_where_it_is_listened_to(spec):
    net, _ = loaded(spec)
    x, c_noise, cond = pictures(7, 5)
    out = jitted(spec)(x, c_noise, cond)
    scale = np.abs(out).max()
    assert np.abs(jitted(spec)(x, c_noise, cond + 1) - out).max() > 1e-3 * scale
    assert np.abs(jitted(spec)(x + 1, c_noise, cond) - out).max() > 1e-3 * scale
    other = np.abs(jitted(spec)(x, c_noise + 0.5, cond) - out).max()
    assert other > 1e-3 * scale if net.embed else other == 0


@laws
def test_bfloat16_is_float32_roughly(spec):
    net, params = loaded(spec)
    inputs = pictures(7, 5)
    exact = np.asarray(jitted(spec)(*inputs))
    rough = jax.jit(net.clone(dtype=jnp.bfloat16).apply)({"params": params}, *inputs)
    assert rough.dtype == jnp.float32  # that of x
    error = np.sqrt(np.mean((rough - exact) ** 2)) / exact.std()
    # A rounding to 8 bits is 2^-9 of what is rounded. Some 20 layers round their weights, inputs and outputs,
    # independently: sqrt(60) 2^-9 = 0.015, and the gain of the layers after, a few times that.
    assert 2.0**-12 < error < 0.06


@laws
def test_every_parameter_has_a_finite_gradient(spec):
    net, params = loaded(spec)
    inputs = pictures(7, 5)
    grads = jax.jit(jax.grad(lambda p, x: jnp.sum(net.apply({"params": p}, x, *inputs[1:]) ** 2), argnums=(0, 1)))
    for path, grad in jax.tree_util.tree_leaves_with_path(grads(params, inputs[0])):
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, path


def local(net) -> bool:
    """Attention over the whole picture is the one thing here that is not."""
    return not getattr(net, "attention", False)


LOCAL = [spec for spec in EXAMPLES if local(build(spec))]
local_laws = pytest.mark.parametrize("spec", LOCAL, ids=json.dumps)


def test_some_nets_are_local():
    assert LOCAL


def strip(net) -> tuple[int, int]:
    """A length and a middle such that neither end feels the other, in whole cells."""
    cells = -(-net.receptive_px // net.factor)
    return (2 * cells + 5) * net.factor, (cells + 2) * net.factor


@local_laws
def test_no_pixel_sees_further_than_receptive_px(spec):
    """A row is poked, in x and in cond; what changes, bit for bit, is within reach."""
    net, _ = loaded(spec)
    side, middle = strip(net)
    x, c_noise, cond = pictures(side, net.factor, 1)
    out = jitted(spec)(x, c_noise, cond)
    farthest = 0
    for row in range(middle, middle + net.factor):  # each place in a cell
        poked = jitted(spec)(x.at[:, row].add(1.0), c_noise, cond.at[:, row].add(1.0))
        rows = np.flatnonzero((poked != out).any((0, 2, 3)))
        assert row - net.receptive_px <= rows.min() <= rows.max() <= row + net.receptive_px
        farthest = max(farthest, row - rows.min(), rows.max() - row)
    assert farthest > net.receptive_px - 2 * net.factor  # the bound is no idle one


@local_laws
def test_shifting_the_picture_by_factor_shifts_the_answer(spec):
    """Two crops of a photograph agree where neither feels its border: so tiles join."""
    net, _ = loaded(spec)
    side, middle = strip(net)
    x, c_noise, cond = pictures(side + net.factor, net.factor, 1)

    def answer(shift):  # to the crop that starts at `shift`, read in the one cell that is far from all ends
        out = jitted(spec)(x[:, shift : shift + side], c_noise, cond[:, shift : shift + side])
        return np.asarray(out[:, middle - shift : middle - shift + net.factor])

    # What the convolutions sum is the same, in another place: 20 layers of sqrt(200) roundings, as above.
    bound = 300 * ULP * np.abs(answer(0)).max()
    np.testing.assert_allclose(answer(net.factor), answer(0), rtol=0, atol=bound)
    if net.factor > 1:  # and a shift by less is another picture to it
        assert np.abs(answer(1) - answer(0)).max() > 100 * bound
