"""Products and memory that a file says, beside those counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.cost import cost
from restore_jax.export.graph import Graph
from restore_jax.export.tflite import ops, to_tflite

PIXELS = 12 * 16
IMAGE = jax.ShapeDtypeStruct((1, 12, 16, 3), jnp.float32)
FORM = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(autouse=True)
def extra():
    for package in ["litert_converter", "ai_edge_litert"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')


def kernel(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape), jnp.float32)


def conv(x, w, **how):
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=FORM, **how)


def file_of(function, tmp_path):
    return to_tflite(Graph(function, {"y": IMAGE}), tmp_path / "net.tflite")


def test_products_of_every_layer(tmp_path):
    def function(y):
        h = conv(conv(y, kernel(3, 5, 3, 8)), kernel(3, 3, 1, 8), feature_group_count=8)
        rows = h.reshape(1, -1, 8)
        channels = jnp.einsum("bnc,bnd->bcd", rows, rows)
        return jnp.einsum("bnc,bcd->bnd", rows, channels).reshape(h.shape) @ kernel(8, 5)

    path = file_of(function, tmp_path)
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL", "FULLY_CONNECTED"} <= set(ops(path))
    assert cost(path).macs == PIXELS * (3 * 5 * 3 * 8 + 3 * 3 * 8 + 8 * 8 + 8 * 8 + 8 * 5)


def test_a_convolution_that_enlarges(tmp_path):
    path = file_of(lambda y: jax.lax.conv_transpose(y, kernel(2, 2, 3, 5), (2, 2), "VALID"), tmp_path)
    products = {"TRANSPOSE_CONV": PIXELS, "CONV_2D": 4 * PIXELS}  # the latter reads the zeros in between too
    (times,) = {products[name] for name in ops(path) if name in products}
    assert cost(path).macs == times * 2 * 2 * 3 * 5


def test_activations_that_are_alive_at_once(tmp_path):
    def chain(y):
        return conv(conv(conv(y, kernel(3, 3, 3, 8)), kernel(3, 3, 8, 4)), kernel(3, 3, 4, 3))

    def kept(y):
        return chain(y) + y

    assert cost(file_of(chain, tmp_path)).peak_bytes == 4 * PIXELS * (8 + 4)
    assert cost(file_of(kept, tmp_path)).peak_bytes == 4 * PIXELS * (8 + 4 + 3)


def test_signatures_have_their_own(tmp_path):
    larger = jax.ShapeDtypeStruct((1, 24, 16, 3), jnp.float32)
    one = lambda y: conv(y, kernel(3, 3, 3, 3))
    path = to_tflite({"a": Graph(one, {"y": IMAGE}), "b": Graph(one, {"y": larger})}, tmp_path / "net.tflite")
    assert {cost(path, 0).macs, cost(path, 1).macs} == {27 * 3 * PIXELS, 27 * 3 * 2 * PIXELS}
