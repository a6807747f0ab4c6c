"""Kernels on a grid: they are on it, quantizers find it again, and what they lose is made up for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from restore_jax.export.calibration import calibration, photographs
from restore_jax.export.graph import Graph
from restore_jax.export.rounding import LEVELS, compensated, kernels, matrix_of, mixed, replaced, rows_of, sensitivities

IMAGE = jax.ShapeDtypeStruct((1, 16, 24, 3), jnp.float32)
NAMES = ("NHWC", "HWIO", "NHWC")
RNG = np.random.default_rng(0)


def drawn(*shape):
    return jnp.float32(RNG.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5)


HEAD, DEPTH, DENSE, TAIL = drawn(3, 3, 3, 16), drawn(3, 3, 1, 16), drawn(16, 16), drawn(3, 3, 16, 3)


def function(y):
    with jax.named_scope("head"):
        h = jax.nn.relu(lax.conv_general_dilated(y, HEAD, (1, 1), "SAME", dimension_numbers=NAMES))
    with jax.named_scope("depth"):
        h = lax.conv_general_dilated(h, DEPTH, (1, 1), "SAME", dimension_numbers=NAMES, feature_group_count=16)
    with jax.named_scope("dense"):
        h = jax.nn.relu((h.reshape(-1, 16) @ DENSE).reshape(h.shape))
    with jax.named_scope("tail"):
        return y + 0.1 * lax.conv_general_dilated(h, TAIL, (1, 1), "SAME", dimension_numbers=NAMES)


GRAPH = Graph(function, {"y": IMAGE})


@pytest.fixture(scope="module")
def seen():
    return list(calibration(GRAPH, photographs()))


@pytest.fixture(scope="module")
def found(seen):
    return kernels(GRAPH, seen)


def db(graph, other, pictures):
    apart = [np.asarray(graph(**one)) - np.asarray(other(**one)) for one in pictures]
    return float(-10 * np.log10(np.mean(np.square(apart))))


def test_every_kernel_is_found_once_in_its_module(found):
    assert [one.module for one in found] == ["head", "depth", "dense", "tail"]
    for one, kernel in zip(found, (HEAD, DEPTH, DENSE, TAIL)):
        np.testing.assert_array_equal(one.value, kernel)


def test_they_are_on_the_grid_and_the_largest_stays(found):
    for one in found:
        w, q = (a.reshape(-1, a.shape[-1]) for a in (one.value, one.rounded))
        scale = np.abs(w).max(axis=0) / LEVELS
        np.testing.assert_allclose(q / scale, np.round(q / scale), atol=1e-4)
        np.testing.assert_allclose(np.abs(q).max(axis=0), np.abs(w).max(axis=0), rtol=1e-6)
        assert np.abs(q / scale).max() < LEVELS + 0.01


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("padding", ["SAME", "VALID", [(2, 1), (0, 3)], [(-1, 0), (2, -2)]])
def test_rows_times_the_matrix_are_the_convolution(stride, dilation, groups, padding):
    x, kernel = drawn(1, 11, 14, 4), drawn(3, 2, 4 // groups, 8)

    def convolved(x):
        steps, holes = (stride, stride), (dilation, dilation)
        return lax.conv_general_dilated(
            x, kernel, steps, padding, rhs_dilation=holes, dimension_numbers=NAMES, feature_group_count=groups
        )

    (equation,) = jax.make_jaxpr(convolved)(x).eqns
    rows = rows_of(equation, x, kernel.shape)
    out = jnp.einsum("ngm,gmo->ngo", rows, matrix_of(equation, np.asarray(kernel))).reshape(len(rows), -1)
    place = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_allclose(out, convolved(x).reshape(-1, 8)[place], atol=1e-5)


def test_rows_that_have_nothing_in_common_are_rounded_to_the_nearest():
    w = RNG.standard_normal((2, 20, 5))
    scale = np.abs(w).max(axis=1, keepdims=True) / LEVELS
    moments = np.stack([np.diag(RNG.uniform(1, 2, 20)) for _ in range(2)])
    np.testing.assert_allclose(compensated(w, moments), np.round(w / scale) * scale, atol=1e-6)


def test_beside_the_best_of_all_grids_points():
    """Three numbers, of which the largest stays: never below the least of 49, and most of the way to it."""
    figures = []
    for _ in range(50):
        w, mixing = RNG.standard_normal(3), RNG.standard_normal((3, 3))
        h, scale = mixing.T @ mixing + 0.5 * np.eye(3), np.abs(w).max() / LEVELS

        def cost(q, w=w, h=h):
            return (w - q) @ h @ (w - q)

        near = [np.round(one / scale) + np.arange(-3, 4) * (abs(one) < np.abs(w).max()) for one in w]
        best = min(cost(scale * np.array(one)) for one in itertools.product(*near))
        ours = cost(compensated(w[None, :, None], h[None])[0, :, 0])
        assert ours >= best * (1 - 1e-3)  # float32
        figures.append((ours, cost(scale * np.round(w / scale)), best))
    ours, nearest, best = np.sum(figures, axis=0)
    assert ours - best < 0.5 * (nearest - best)


def test_photographs_lose_less_than_by_the_nearest(found, seen):
    def nearest(kernel):
        scale = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0) / LEVELS
        return np.round(kernel / scale) * scale

    ours = db(GRAPH, replaced(GRAPH, {one.digest: one.rounded for one in found}), seen)
    plain = db(GRAPH, replaced(GRAPH, {one.digest: nearest(one.value) for one in found}), seen)
    print(f"\n{ours:.1f} dB, by the nearest {plain:.1f} dB")
    assert ours > plain + 3


def test_nothing_replaced_is_the_same_graph(seen):
    same = replaced(GRAPH, {})
    np.testing.assert_array_equal(jax.jit(same.__call__)(**seen[0]), jax.jit(GRAPH.__call__)(**seen[0]))
    text = str(jax.make_jaxpr(same.function)(seen[0]["y"]).pretty_print(name_stack=True))
    assert all(name in text for name in ("head", "depth", "dense", "tail"))


def test_a_kernel_that_depends_on_the_picture_is_left_alone(seen):
    def function(y):
        return y * 0 + (y.reshape(-1, 3) @ (DENSE[:3, :3] * y.mean())).reshape(y.shape)

    assert kernels(Graph(function, {"y": IMAGE}), seen[:1]) == []


def test_a_kernel_used_twice_is_one(seen):
    def function(y):
        return (y.reshape(-1, 3) @ DENSE[:3, :3] @ DENSE[:3, :3]).reshape(y.shape)

    (one,) = kernels(Graph(function, {"y": IMAGE}), seen[:1])
    assert one.value.shape == (3, 3)


def test_no_picture():
    with pytest.raises(ValueError, match="at least one picture"):
        kernels(GRAPH, [])


def test_tflite_finds_the_same_grid_again(found, seen, tmp_path):
    for package in ["litert_converter", "ai_edge_litert", "litert_quantizer"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')
    from restore_jax.export.tflite import TFLiteModel, to_tflite

    eight = replaced(GRAPH, {one.digest: one.rounded for one in found})
    model = TFLiteModel(to_tflite(eight, tmp_path / "net.tflite", "int8-weights"))
    assert np.abs(model(**seen[0]) - np.asarray(eight(**seen[0]))).max() < 2e-6
    assert np.abs(model(**seen[0]) - np.asarray(GRAPH(**seen[0]))).max() > 1e-5


def test_core_ml_finds_the_same_grid_again(found, seen, tmp_path):
    for package in ["coremltools", "stablehlo_coreml"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')
    from restore_jax.export.coreml import to_coreml
    from restore_jax.export.mil import CoreMLModel

    eight = replaced(GRAPH, {one.digest: one.rounded for one in found})
    path = to_coreml(eight, tmp_path / "net.mlpackage", "int8-weights")
    half = to_coreml(eight, tmp_path / "half.mlpackage", "fp16")
    weights, halves = (CoreMLModel(one, "main")(**seen[0]) for one in (path, half))
    assert np.abs(weights - halves).max() < 2e-3  # float16's own: the last place of a picture is 5e-4


def test_a_module_alone_and_as_many_as_are_needed(found, seen, tmp_path):
    rows = sensitivities(GRAPH, seen, found)
    assert [row.module for row in rows] == ["head", "depth", "dense", "tail"]
    assert [row.weights for row in rows] == [one.value.size for one in found]
    every = db(GRAPH, replaced(GRAPH, {one.digest: one.rounded for one in found}), seen)
    assert all(row.psnr_db > every - 3 for row in rows)
    assert mixed(GRAPH, seen, found, every - 1) == ()
    kept = mixed(GRAPH, seen, found, every + 3)
    assert 0 < len(kept) < 4
    left = {one.digest: one.rounded for one in found if one.module not in kept}
    assert db(GRAPH, replaced(GRAPH, left), seen) >= every + 3
    with pytest.raises(ValueError, match="leaves no module in 8 bits"):
        mixed(GRAPH, seen, found, 200.0)
