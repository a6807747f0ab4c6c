"""What is taken out of a file changes none of its answers."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.graph import Graph
from restore_jax.export.quantize import quantized
from restore_jax.export.strip import ALIGNED, stripped
from restore_jax.export.tflite import TFLiteModel, converted, flatbuffer, fused, metadata, operators, to_tflite
from restore_jax.nets.attention import gelu

CHANNELS = 192  # 8 bits of such a kernel are too many for the quantizer to write them inside the flatbuffer
NHWC = ("NHWC", "HWIO", "NHWC")
RNG = np.random.default_rng(0)
KERNELS = [
    jnp.float32(RNG.standard_normal((3, 3, i, o)) / (9 * i) ** 0.5)
    for i, o in ((3, CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, 3))
]


def function(y):
    h = y
    for number, kernel in enumerate(KERNELS):
        with jax.named_scope(f"a_name_that_takes_room_{number}"):
            h = gelu(
                jax.lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            )
    return y + h


def graph(side):
    return Graph(function, {"y": jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)}, metadata={"version": "7"})


@pytest.fixture(autouse=True)
def extra():
    for package in ["litert_converter", "ai_edge_litert", "litert_quantizer"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')


@pytest.fixture(scope="module")
def files():
    pytest.importorskip("litert_quantizer", reason='needs pip install "restore-jax[export]"')
    full = converted({"small": graph(8), "large": graph(12)})
    return {"fp32": full, "fp16": quantized(full, "fp16"), "int8-weights": quantized(full, "int8-weights")}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-weights"])
def test_it_answers_the_same_bit_for_bit(files, precision, tmp_path):
    whole = files[precision]
    less = stripped(whole)
    assert len(less) < len(whole) - 2000  # of text alone
    assert operators(less) == operators(whole)
    paths = [tmp_path / "whole.tflite", tmp_path / "less.tflite"]
    for path, content in zip(paths, (whole, less)):
        path.write_bytes(content)
    assert metadata(paths[0]) == metadata(paths[1])
    for signature, side in (("small", 8), ("large", 12)):
        picture = RNG.random((1, side, side, 3), np.float32)
        one, other = (TFLiteModel(path, signature=signature) for path in paths)
        assert (one.inputs, one.outputs, one.signatures) == (other.inputs, other.outputs, other.signatures)
        np.testing.assert_array_equal(one(y=picture), other(y=picture), strict=True)
        kept = [TFLiteModel(content, signature=signature, keep=True).values(y=picture) for content in (whole, less)]
        assert len(kept[0]) == len(kept[1]) > 10


def test_the_ends_keep_their_names_and_weights_begin_where_vectors_do(files):
    less = stripped(files["int8-weights"])
    assert stripped(less) == less
    model = flatbuffer(less)
    for number in range(model.SubgraphsLength()):
        part = model.Subgraphs(number)
        ends = {*part.InputsAsNumpy().tolist(), *part.OutputsAsNumpy().tolist()}
        names = [part.Tensors(i).Name() for i in range(part.TensorsLength())]
        assert {i for i, name in enumerate(names) if name} == ends
    data = [model.Buffers(i).DataAsNumpy() for i in range(1, model.BuffersLength())]
    base = np.frombuffer(less, np.uint8).ctypes.data
    assert {(one.ctypes.data - base) % ALIGNED for one in data} == {0}
    assert sum(one.size for one in data) < len(less) < sum(k.size for k in KERNELS) + 25_000


def test_gelu_is_one_operator(tmp_path):
    path = to_tflite(graph(8), tmp_path / "net.tflite")
    assert operators(path.read_bytes()).count("GELU") == len(KERNELS)
    assert "GELU" not in operators(converted({"plain": graph(8)}))
    picture = RNG.random((1, 8, 8, 3), np.float32)
    named = jax.jit(fused(graph(8)).__call__)(y=picture)
    np.testing.assert_array_equal(named, jax.jit(graph(8).__call__)(y=picture))
    np.testing.assert_allclose(TFLiteModel(path)(y=picture), named, rtol=0, atol=2e-6)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[export\]"'):
        stripped(b"")
