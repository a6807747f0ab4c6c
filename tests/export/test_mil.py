"""MIL in NumPy: what coremltools leaves out, against sums written out, and the types of the file."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
pytest.importorskip("coremltools", reason='needs pip install "restore-jax[export]"')

from restore_jax.export.mil import convolution, evaluated  # noqa: E402


def conv(x, weight, pad=(0, 0, 0, 0), strides=(1, 1), dilations=(1, 1), groups=1, bias=None, pad_type="custom"):
    grid = {"pad": np.asarray(pad), "strides": np.asarray(strides), "dilations": np.asarray(dilations)}
    return operation("conv", x=x, weight=weight, **grid, groups=np.int32(groups), pad_type=pad_type, bias=bias)


def operation(kind, **values):
    """One of MIL's, by what it is given."""
    held = {name: value if value is None else SimpleNamespace(val=value) for name, value in values.items()}
    return SimpleNamespace(op_type=kind, **held)


def summed(x, weight, pad, strides, dilations, groups, bias):
    """The definition, number by number, in float64."""
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), pad[:2], pad[2:]])
    o, i, kh, kw = weight.shape
    (sh, sw), (dh, dw) = strides, dilations
    h = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    w = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((x.shape[0], o, h, w)) + bias[None, :, None, None]
    for channel in range(o):
        group = x[:, channel // (o // groups) * i :][:, :i]
        for row in range(h):
            for column in range(w):
                part = group[:, :, row * sh :: dh, column * sw :: dw][:, :, :kh, :kw]
                y[:, channel, row, column] += (part * weight[channel]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize(
    ("pad", "strides", "dilations", "groups"),
    [((1, 0, 2, 1), (1, 1), (1, 1), 1), ((0, 0, 0, 0), (2, 1), (1, 1), 2), ((1, 1, 1, 1), (1, 2), (2, 1), 4)],
)
def test_a_convolution_is_its_definition(pad, strides, dilations, groups):
    rng = np.random.default_rng(0)
    x, bias = rng.standard_normal((1, 4, 6, 5)).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    weight = rng.standard_normal((4, 4 // groups, 3, 2)).astype(np.float32)
    found = evaluated(conv(x, weight, pad, strides, dilations, groups, bias))
    # 24 products of numbers near 1, each rounded to 6e-8 of itself.
    np.testing.assert_allclose(found, summed(x, weight, pad, strides, dilations, groups, bias), atol=1e-5)


def test_same_padding_keeps_the_size_and_sums_are_float32():
    x = np.full((1, 512, 4, 4), 1, np.float16)
    weight = np.full((1, 512, 3, 3), 1, np.float16)
    found = convolution(conv(x, weight, pad_type="same"))
    assert found.shape == (1, 1, 4, 4)
    assert found[0, 0, 1, 1] == 512 * 9  # whole, where float16 counts in fours


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_a_product_is_its_sum_in_float32(turned):
    x, y = np.full((2, 3, 512), 1, np.float16), np.full((2, 512, 4), 9, np.float16)
    x[1], y[:, :, 1] = -2, np.arange(512, dtype=np.float16) % 7
    wanted = np.einsum("bij,bjk->bik", x.astype(np.float64), y.astype(np.float64))  # whole numbers: exact
    given = [np.swapaxes(side, 1, 2) if turn else side for side, turn in zip((x, y), turned)]
    op = operation("matmul", x=given[0], y=given[1], transpose_x=turned[0], transpose_y=turned[1])
    np.testing.assert_array_equal(evaluated(op), wanted)


@pytest.mark.parametrize("bias", [None, np.asarray([0.5, -1, 2, 0], np.float16)])
def test_a_linear_layer_is_its_sum_in_float32(bias):
    x, weight = np.full((3, 512), 1, np.float16), (np.arange(2048, dtype=np.float16) % 5).reshape(4, 512)
    wanted = x.astype(np.float64) @ weight.astype(np.float64).T + (0 if bias is None else bias)
    np.testing.assert_array_equal(evaluated(operation("linear", x=x, weight=weight, bias=bias)), wanted)


def test_gelu_is_exact():
    x = np.linspace(-6, 6, 401, dtype=np.float32)
    wanted = [float(v) * (1 + math.erf(float(v) / math.sqrt(2))) / 2 for v in x]
    # 1 + erf of a number near -1 is off by a rounding of 1, 6e-8, and x is at most 6.
    np.testing.assert_allclose(evaluated(operation("gelu", x=x, mode="EXACT")), wanted, rtol=3e-7, atol=6 * 6e-8)


@pytest.mark.parametrize(("pad", "sides", "strides"), [((0, 0, 0, 0), (3, 2), (2, 1)), ((1, 0, 1, 2), (3, 4), (1, 3))])
def test_pooling_is_its_definition(pad, sides, strides):
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 9)).astype(np.float32) - 3  # no zero wins from outside
    sides_of = {"kernel_sizes": np.asarray(sides), "strides": np.asarray(strides), "pad": np.asarray(pad)}
    op = operation("max_pool", x=x, **sides_of, pad_type="custom", ceil_mode=False)
    around = np.pad(x, [(0, 0), (0, 0), pad[:2], pad[2:]], constant_values=-np.inf)
    high, wide = ((n - k) // s + 1 for n, k, s in zip(around.shape[2:], sides, strides))
    corners = [(i * strides[0], j * strides[1]) for i in range(high) for j in range(wide)]
    windows = [around[:, :, i : i + sides[0], j : j + sides[1]].max((2, 3)) for i, j in corners]
    np.testing.assert_array_equal(evaluated(op), np.stack(windows, -1).reshape(1, 2, high, wide))
    op.ceil_mode.val = True
    with pytest.raises(ValueError, match="ceil_mode"):
        evaluated(op)
