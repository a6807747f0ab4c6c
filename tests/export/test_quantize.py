"""Fewer bits: what a file then weighs, how far it is, and what is refused."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.calibration import calibration, crop, inputs, photographs
from restore_jax.export.graph import Graph
from restore_jax.export.parity import parity
from restore_jax.export.quantize import quantized
from restore_jax.export.tflite import TFLiteModel, beyond_float16, converted, metadata, operators, to_tflite

IMAGE = jax.ShapeDtypeStruct((1, 16, 24, 3), jnp.float32)
RNG = np.random.default_rng(0)
SHAPES = {"head": (3, 3, 3, 32), "body": (3, 3, 32, 32), "tail": (3, 3, 32, 3)}
# The branch is a tenth of the picture, as in a denoiser: 8 bits of a branch are 48 dB, and 20 dB more of the whole.
KERNELS = {
    name: jnp.float32(RNG.standard_normal(shape) * (2 / np.prod(shape[:3])) ** 0.5) for name, shape in SHAPES.items()
}


def function(y):
    h = y
    for name, kernel in KERNELS.items():
        with jax.named_scope(name):
            h = jax.lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            h = jax.nn.relu(h) if name != "tail" else h
    return y + 0.1 * h


GRAPH = Graph(function, {"y": IMAGE}, metadata={"version": "7"})
WEIGHTS = sum(kernel.size for kernel in KERNELS.values())


@pytest.fixture(autouse=True)
def extra():
    for package in ["litert_converter", "ai_edge_litert", "litert_quantizer"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')


@pytest.fixture(scope="module")
def picture():
    return inputs(GRAPH, crop(photographs()[3], 16, 24))


@pytest.mark.parametrize(
    ("precision", "bytes_each", "least_db"),
    [("fp16", 2, 80), ("int8-weights", 1, 50), ("int8-dynamic", 1, 45), ("int8-static", 1, 35)],
)
def test_what_a_file_weighs_and_how_far_it_is(precision, bytes_each, least_db, picture, tmp_path, capfd):
    pictures = {"serving_default": calibration(GRAPH, photographs())} if precision == "int8-static" else None
    path = to_tflite(GRAPH, tmp_path / "net.tflite", precision, pictures)
    assert "Calibration" not in capfd.readouterr().err
    assert path.stat().st_size < bytes_each * WEIGHTS + 12_000  # the text of the graph, and a scale a channel
    assert metadata(path)["version"] == "7"
    result = parity(GRAPH, TFLiteModel(path), picture, runs=1)
    print(f"\n{precision}: {path.stat().st_size} bytes, {result}")
    assert least_db < result.psnr_db < 110  # and it is not float32


def test_a_module_keeps_sixteen_bits(tmp_path):
    content = converted({"serving_default": GRAPH})
    whole, part = (len(quantized(content, "int8-weights", halves=halves)) for halves in [(), ("body",)])
    assert 0.9 * KERNELS["body"].size < part - whole < 1.1 * KERNELS["body"].size  # another byte a weight
    assert "DEQUANTIZE" in operators(quantized(content, "int8-weights"))


def test_weights_that_float16_cannot_hold_keep_32_bits(picture, tmp_path):
    """A kernel of 1e-6 behind one of 1e6 is the same function; in float16 the first has two bits or three."""
    large, small = KERNELS["head"] * 1e4, KERNELS["tail"] * 1e-6

    def function(y):
        for kernel in (large, small):
            y = jax.lax.conv_general_dilated(y, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return 1e2 * y

    graph = Graph(function, {"y": IMAGE})
    (named,) = beyond_float16(converted({"serving_default": graph}))
    assert named
    path = to_tflite(graph, tmp_path / "net.tflite", "fp16")
    assert parity(graph, TFLiteModel(path), picture, runs=1).psnr_db > 60
    assert path.stat().st_size < 2 * large.size + 4 * small.size + 12_000  # the other kernel has 16


def test_what_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"precision must be one of fp16, .*, not 'int2'"):
        quantized(b"", "int2")
    with pytest.raises(ValueError, match="give pictures"):
        quantized(b"", "int8-static")
    monkeypatch.setitem(sys.modules, "litert_quantizer", None)
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[export\]"'):
        quantized(b"", "fp16")


def test_ranges_are_those_of_all_pictures_and_not_of_the_first():
    content, rng = converted({"serving_default": GRAPH}), np.random.default_rng(0)
    shown = [{"y": np.float32(level) * rng.random(IMAGE.shape, np.float32)} for level in (0.1, 1.0, 0.1)]
    graph, bright = jax.jit(GRAPH.function), shown[1]
    files = [quantized(content, "int8-static", {"serving_default": some}) for some in (shown, shown[1::-1], shown[:1])]
    apart = [np.square(TFLiteModel(file)(**bright) - graph(bright["y"])) for file in files]
    first, last, clipped = (float(each.mean()) for each in apart)
    assert first == last < clipped / 100  # nine tenths of the picture are clipped by the range of the dark one


def test_sixteen_bits_of_what_is_computed_leave_the_rounding_of_the_weights(picture):
    content = converted({"serving_default": GRAPH})
    pictures = {"serving_default": list(calibration(GRAPH, photographs()))}
    weights, eight, sixteen = (
        TFLiteModel(quantized(content, one, pictures))(**picture) for one in ("int8-weights", "int8-static", "int16x8")
    )
    to_weights = [float(np.square(answer - weights).mean()) for answer in (eight, sixteen)]
    assert to_weights[1] < to_weights[0] / 100  # a step is 1/256 of the other, but x + 0.1 h has float32's own
