"""MIL in NumPy: what coremltools leaves out, against sums written out, and the types of the file."""

from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
pytest.importorskip("coremltools", reason='needs pip install "restore-jax[export]"')

from restore_jax.export.mil import convolution, evaluated  # noqa: E402


def conv(x, weight, pad=(0, 0, 0, 0), strides=(1, 1), dilations=(1, 1), groups=1, bias=None, pad_type="custom"):
    values = {
        "x": x,
        "weight": weight,
        "pad": np.asarray(pad),
        "strides": np.asarray(strides),
        "dilations": np.asarray(dilations),
        "groups": np.int32(groups),
        "pad_type": pad_type,
    }
    op = SimpleNamespace(op_type="conv", **{name: SimpleNamespace(val=value) for name, value in values.items()})
    op.bias = None if bias is None else SimpleNamespace(val=bias)
    return op


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
