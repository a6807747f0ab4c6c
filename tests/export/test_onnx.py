"""The ONNX file says and does what the graph says and does, where its extra is installed."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.graph import ExportError, Graph
from restore_jax.export.locate import divergence
from restore_jax.export.onnx import OnnxModel, to_onnx
from restore_jax.export.parity import agreement, cases

IMAGE = jax.ShapeDtypeStruct((1, 12, 16, 3), jnp.float32)
KERNEL = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3, 3, 3)), jnp.float32) / 5


def function(y, noise, approximate=True):
    h = jax.lax.conv_general_dilated(y, KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    with jax.named_scope("gate"):
        h = jax.nn.gelu(h, approximate=approximate)
    return h + 0.1 * noise


GRAPH = Graph(function, {"y": IMAGE, "noise": IMAGE}, metadata={"version": "7", "short_description": "a test"})


def test_the_file_and_the_graph(tmp_path):
    pytest.importorskip("jax2onnx", reason='needs pip install "restore-jax[onnx]", in an environment of its own')
    path = to_onnx(GRAPH, tmp_path / "net.onnx")
    model = OnnxModel(path)
    assert model.inputs == {"y": IMAGE.shape, "noise": IMAGE.shape}
    assert model.outputs == {"x_hat": IMAGE.shape}
    assert model.metadata == GRAPH.metadata
    given = cases(GRAPH)
    assert agreement(GRAPH, model, given).max_diff < 1e-5
    first = next(iter(given.values()))
    assert divergence(GRAPH, OnnxModel(path, keep=True).values(**first), first) is None
    with pytest.raises(ValueError, match="The file takes"):
        model(y=first["y"])


def test_a_planted_error_is_found(tmp_path):
    pytest.importorskip("jax2onnx", reason='needs pip install "restore-jax[onnx]", in an environment of its own')
    wrong = Graph(lambda y, noise: function(y, noise, approximate=False), GRAPH.inputs)
    model = OnnxModel(to_onnx(wrong, tmp_path / "net.onnx"), keep=True)
    first = next(iter(cases(GRAPH).values()))
    found = divergence(GRAPH, model.values(**first), first)
    assert found is not None
    assert found.origin.module.startswith("gate")


def test_pictures_of_8_bits(tmp_path):
    pytest.importorskip("jax2onnx", reason='needs pip install "restore-jax[onnx]", in an environment of its own')
    graph = GRAPH.as_uint8()
    found = agreement(graph, OnnxModel(to_onnx(graph, tmp_path / "net.onnx")), cases(graph))
    assert found.max_diff <= 1 / 255 + 1e-9  # half a level, rounded the other way


def test_what_cannot_leave_is_named(tmp_path):
    pytest.importorskip("jax2onnx", reason='needs pip install "restore-jax[onnx]", in an environment of its own')
    graph = Graph(lambda y: jnp.linalg.svd(y[0, :3, :3, 0])[0], {"y": IMAGE})
    with pytest.raises(ExportError, match=r"`svd` at .*do the linear algebra before"):
        to_onnx(graph, tmp_path / "net.onnx")


def test_without_the_extra_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[onnx\]"'):
        to_onnx(GRAPH, tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        OnnxModel(tmp_path / "net.onnx")
