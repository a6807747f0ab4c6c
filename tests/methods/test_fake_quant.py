"""Learning with rounding inside: the grids of the exporter, derivatives of one, and a file that agrees with it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, TrainState
from restore_jax.export.calibration import calibration, photographs
from restore_jax.export.exporter import Recipe, export
from restore_jax.export.graph import restorer_graph
from restore_jax.export.rounding import LEVELS, kernels
from restore_jax.export.tflite import TFLiteModel
from restore_jax.methods import fake_quant
from restore_jax.methods.fake_quant import ROUNDED, in_levels, on_grid, rounding

SPEC = fake_quant.EXAMPLES[0]
PLAIN = {**SPEC, "name": "methods.regression.Regression"}
RNG = np.random.default_rng(0)
X = jnp.float32(RNG.random((2, 32, 32, 3)))
OBS = Observation(y=X.reshape(2, 16, 2, 16, 2, 3).mean((2, 4)))


def drawn(method, key=0):
    return method.init(jax.random.key(key), OBS, X)


def test_a_kernel_lies_on_the_grid_of_the_exporter_and_stays_there():
    params = drawn(build(SPEC))
    method = build(SPEC)
    graph = restorer_graph(method.restorer(params), 16, 16)
    found = kernels(graph, calibration(graph, photographs()))
    assert len(found) == 3
    for one in found:
        step = np.abs(one.value).max((0, 1, 2)) / LEVELS
        levels = one.value / step
        np.testing.assert_allclose(levels, np.round(levels), atol=127 * 4 * 2**-24)  # two products, two quotients
        np.testing.assert_allclose(one.rounded, one.value, rtol=4 * 2**-24)  # nothing is left to make up for


def test_arrays_have_as_many_levels_as_bits_and_zero_among_them():
    h = jnp.float32(RNG.standard_normal(4096)) * 3 + 1
    low, high = float(h.min()), float(h.max())
    for bits in (2, 8):
        rounded, step = in_levels(h, bits), (high - low) / (2**bits - 1)
        assert len(np.unique(rounded)) <= 2**bits
        # Half a step of rounding, and half of one more at the ends, where zero moved the range.
        assert float(jnp.abs(rounded - h).max()) <= step * (1 + 1e-5)
    assert float(in_levels(jnp.append(h, 0.0))[-1]) == 0
    positive = jnp.abs(h) + 1
    levels = np.asarray(in_levels(positive) / (positive.max() / 255))
    np.testing.assert_allclose(levels, np.round(levels), atol=255 * 4 * 2**-24)
    assert float(jnp.abs(in_levels(jnp.zeros(3))).max()) == 0


def test_the_derivative_is_straight_through_and_that_of_the_step_is_the_residue():
    w, g = (jnp.float32(RNG.standard_normal((3, 3, 4, 5))) for _ in range(2))
    found = jax.grad(lambda w: (on_grid(w) * g).sum())(w)
    largest = jnp.abs(w) == jnp.abs(w).max((0, 1, 2), keepdims=True)
    np.testing.assert_allclose(found[~largest], g[~largest], rtol=1e-6)
    # d w' / d step = round(w / step) - w / step, and step = |largest| / 127
    step = jnp.abs(w).max((0, 1, 2), keepdims=True) / 127
    residue = (g * (jnp.round(w / step) - w / step)).sum((0, 1, 2)) / 127
    closed = g[largest] + jnp.sign(w[largest]) * residue[jnp.nonzero(largest)[-1]]
    np.testing.assert_allclose(found[largest], closed, rtol=1e-4, atol=1e-5)
    found = jax.grad(lambda h: (in_levels(h) * g).sum())(w)
    inside = (w > w.min()) & (w < w.max())  # zero may have moved an end inwards, and what is clipped is constant
    np.testing.assert_allclose(found[inside], g[inside], rtol=1e-6)


def test_many_bits_are_the_plain_loss_and_few_are_not():
    plain, params = build(PLAIN), drawn(build(PLAIN))
    key = jax.random.key(1)
    state = TrainState(step=0, params=params, ema=params, opt_state=(), key=key)
    expected, _ = plain.loss(params, state, OBS, X, key)
    apart = {}
    for bits in (4, 8, 16):
        loss, _ = build({**SPEC, "bits": bits}).loss(params, state, OBS, X, key)
        apart[bits] = abs(float(loss - expected))
    assert apart[16] < 1e-4 * float(expected) < apart[4]


def test_the_tree_is_the_plain_nets_and_a_run_of_either_form_is_adopted():
    method, plain = build(SPEC), build(PLAIN)
    ours, theirs = drawn(method), drawn(plain, key=1)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, method.adopt(ours, theirs), theirs)
    trained = build({**PLAIN, "net": {**PLAIN["net"], "deploy": False}})
    wide = drawn(trained, key=2)
    merged = method.adopt(ours, wide)
    key = jax.random.key(0)
    np.testing.assert_allclose(
        plain.restorer(merged)(key, OBS), trained.restorer(wide)(key, OBS), atol=1e-5
    )  # sums of some hundred float32 products in another order


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"FakeQuant\.bits must be 2 to 16, not 1"):
        build({**SPEC, "bits": 1})


def test_a_file_of_eight_bits_agrees_with_the_rounding_that_was_trained_with(tmp_path):
    for package in ["litert_converter", "ai_edge_litert", "litert_quantizer"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')
    method, params = build(SPEC), drawn(build(SPEC))
    restorer = method.restorer(params)
    written = export(restorer, Recipe("tflite", ((64, 64),), "int8-static"), tmp_path / "net.tflite")
    ((name, graph),) = written.graphs.items()
    model, pictures = TFLiteModel(written.path, signature=name), list(calibration(graph, photographs()))
    y = jnp.concatenate([one["y"] for one in pictures])  # a batch with the extremes of the calibration
    files = np.concatenate([np.asarray(model(**one)) for one in pictures])
    ranges, shown = [], []

    def plain_call(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if isinstance(context.module, ROUNDED):
            ranges.extend((h.min(), h.max()) for h in (args[0], out))
        return out

    def within(h):
        """What `in_levels` makes of h between the extremes of the plain net, as the file has it: clipped, and beside
        them."""
        ends = jnp.stack(ranges[len(shown)])
        shown.append(h)
        return in_levels(jnp.append(jnp.clip(h, *ends), ends))[:-2].reshape(h.shape)

    def rounded_call(call, args, kwargs, context):
        if isinstance(context.module, ROUNDED):
            return within(call(within(args[0])))
        return call(*args, **kwargs)

    obs, key = Observation(y=y), jax.random.key(0)
    with nn.intercept_methods(plain_call):
        plain = restorer(key, obs)
    with nn.intercept_methods(rounded_call):
        rounded = restorer(key, obs)
    assert len(shown) == len(ranges) == 6
    to_plain, to_rounded = (float(jnp.square(files - other).mean()) for other in (plain, rounded))
    print(f"\nmean square to float32 {to_plain:.3g}, to the rounded net {to_rounded:.3g}")
    assert to_rounded < to_plain / 10
    # Trained with, the extremes are those of what is rounded already: other levels, and an error as large.
    with rounding():
        error = float(jnp.square(restorer(key, obs) - plain).mean())
    assert 0.5 < error / to_plain < 2
