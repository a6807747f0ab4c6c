"""What every restoring network owes, called as `net(x, c_noise, cond)`: any size, no neighbours, honest reach.

A net has `scale` (the size of its answer over that of x), `factor` (tiles start on multiples of it), `local` (whether
no answer depends on what is further than `receptive_px`); the last two count pixels of the answer.
"""

import functools
import importlib
import json
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import restore_jax.nets
from restore_jax.build import build
from restore_jax.export.graph import Graph

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


@functools.cache
def _with_gradients(spec: str):
    net, params = _loaded(spec)

    def loss(params, x, *others):
        out = net.apply({"params": params}, x, *others)
        return jnp.sum(out**2), out

    run = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    return lambda *inputs: run(params, *inputs)


def loaded(spec):
    """The net, and parameters that are all at random: a fresh net hides behind its zeros."""
    return _loaded(json.dumps(spec))


def jitted(spec):
    return _jitted(json.dumps(spec))


def with_gradients(spec):
    """To pictures of 7 x 5 the gradients of the answer's energy, and the answer: laws share what is compiled once."""
    return _with_gradients(json.dumps(spec))


def answer_to(spec, *inputs):
    return with_gradients(spec)(*inputs)[1]


def test_there_are_examples():
    assert {spec["name"] for spec in EXAMPLES} >= {"nets.unet.UNet", "nets.nafnet.NAFNet"}


@laws
@pytest.mark.parametrize("size", [(1, 1), pytest.param((33, 20), marks=pytest.mark.soak)], ids=str)
def test_any_size_comes_back(spec, size):
    net, params = loaded(spec)
    inputs = pictures(*size)
    out = jax.eval_shape(lambda *inputs: net.apply({"params": params}, *inputs), *inputs)
    assert out.shape == (2, *(net.scale * side for side in size), 3)
    assert out.dtype == jnp.float32


@laws
def test_a_picture_does_not_know_its_neighbours(spec):
    x, c_noise, cond = pictures(7, 5)
    out = answer_to(spec, x, c_noise, cond)
    assert out.shape[1:3] == (7 * loaded(spec)[0].scale, 5 * loaded(spec)[0].scale)
    assert np.isfinite(out).all()
    other = answer_to(spec, x.at[0].add(1.0), c_noise.at[0].add(1.0), cond.at[0].add(1.0))
    np.testing.assert_array_equal(other[1], out[1])
    assert np.abs(other[0] - out[0]).max() > 1e-3 * np.abs(out).max()


@pytest.mark.soak  # some 10 s a net: it compiles every operation by itself
@laws
def test_jit_changes_nothing(spec):
    net, params = loaded(spec)
    inputs = pictures(7, 5)
    eager = net.apply({"params": params}, *inputs)  # op by op
    # Some 20 layers, each a sum of up to 200 products in another order: 20 sqrt(200) roundings.
    np.testing.assert_allclose(answer_to(spec, *inputs), eager, rtol=0, atol=300 * ULP * np.abs(eager).max())


@laws
def test_inputs_matter_and_the_level_where_it_is_listened_to(spec):
    net, _ = loaded(spec)
    x, c_noise, cond = pictures(7, 5)
    out = answer_to(spec, x, c_noise, cond)
    scale = np.abs(out).max()
    assert np.abs(answer_to(spec, x, c_noise, cond + 1) - out).max() > 1e-3 * scale
    assert np.abs(answer_to(spec, x + 1, c_noise, cond) - out).max() > 1e-3 * scale
    other = np.abs(answer_to(spec, x, c_noise + 0.5, cond) - out).max()
    assert other > 1e-3 * scale if getattr(net, "embed", 0) else other == 0


@pytest.mark.soak  # a second program a net
@laws
def test_bfloat16_is_float32_roughly(spec):
    net, params = loaded(spec)
    inputs = pictures(7, 5)
    exact = np.asarray(answer_to(spec, *inputs))
    rough = jax.jit(net.clone(dtype=jnp.bfloat16).apply)({"params": params}, *inputs)
    assert rough.dtype == jnp.float32  # that of x
    error = np.sqrt(np.mean((rough - exact) ** 2)) / exact.std()
    # A rounding to 8 bits is 2^-9 of what is rounded. Some 20 layers round their weights, inputs and outputs,
    # independently: sqrt(60) 2^-9 = 0.015, and the gain of the layers after, a few times that.
    assert 2.0**-12 < error < 0.06


@laws
def test_every_parameter_has_a_finite_gradient(spec):
    grads, _ = with_gradients(spec)(*pictures(7, 5))
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, path


@laws
def test_it_lowers_to_stablehlo_for_export(spec):
    """One graph without loops, branches and calls to elsewhere, of arrays of rank 5 at most: what phones take."""
    net, params = loaded(spec)
    picture = jax.ShapeDtypeStruct((1, 16, 12, 3), jnp.float32)
    graph = Graph(lambda x, c: net.apply({"params": params}, x, C_NOISE[:1], c), {"x": picture, "cond": picture})
    exported = graph.lower()
    assert exported.out_avals[0].shape == (1, 16 * net.scale, 12 * net.scale, 3)
    text = exported.mlir_module()
    assert "stablehlo.convolution" in text or "stablehlo.dot" in text  # it is the text
    assert not re.findall(r"stablehlo\.(?:while|case|if|custom_call)\b.*", text)
    assert not re.findall(r"tensor<(?:\d+x){6}.*", text)


LOCAL = [spec for spec in EXAMPLES if build(spec).local]
local_laws = pytest.mark.parametrize("spec", LOCAL, ids=json.dumps)


def test_some_nets_are_local():
    assert LOCAL


def strip(net) -> tuple[int, int, int]:
    """A length and a middle such that neither end feels the other, and a cell, in pixels of x."""
    cell = net.factor // net.scale
    cells = -(-net.receptive_px // net.factor)
    return (2 * cells + 5) * cell, (cells + 2) * cell, cell


def test_factor_is_whole_pixels_of_x():
    for spec in EXAMPLES:
        net = build(spec)
        assert net.factor % net.scale == 0, spec


@local_laws
def test_no_pixel_sees_further_than_receptive_px(spec):
    """A row of x and of cond becomes NaN, which nothing rounds away: what it reaches is within the bound."""
    net, _ = loaded(spec)
    side, middle, cell = strip(net)
    x, c_noise, cond = pictures(side, cell, 1)
    farthest = 0
    for row in range(middle, middle + cell):  # each place in a cell
        out = jitted(spec)(x.at[:, row].set(jnp.nan), c_noise, cond.at[:, row].set(jnp.nan))
        rows = np.flatnonzero(jnp.isnan(out).any((0, 2, 3)))
        first, last = row * net.scale, row * net.scale + net.scale - 1
        assert first - net.receptive_px <= rows.min() <= rows.max() <= last + net.receptive_px
        farthest = max(farthest, first - rows.min(), rows.max() - last)
    assert farthest > net.receptive_px - 2 * net.factor  # the bound is no idle one


@local_laws
def test_shifting_the_picture_by_factor_shifts_the_answer(spec):
    """Two crops of a photograph agree where neither feels its border: so tiles join."""
    net, _ = loaded(spec)
    side, middle, cell = strip(net)
    x, c_noise, cond = pictures(side + cell, cell, 1)

    def answer(shift):  # to the crop that starts at `shift`, read in the one cell that is far from all ends
        out = jitted(spec)(x[:, shift : shift + side], c_noise, cond[:, shift : shift + side])
        first = (middle - shift) * net.scale
        return np.asarray(out[:, first : first + net.factor])

    # What the convolutions sum is the same, in another place: 20 layers of sqrt(200) roundings, as above.
    bound = 300 * ULP * np.abs(answer(0)).max()
    np.testing.assert_allclose(answer(cell), answer(0), rtol=0, atol=bound)
    if cell > 1:  # and a shift by less is another picture to it
        assert np.abs(answer(1) - answer(0)).max() > 100 * bound
