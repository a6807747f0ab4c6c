"""3x3 convolutions with half of the products: the plain ones, value and gradient, at any size."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from restore_jax.nets import conv
from restore_jax.nets.winograd import (
    GROWTH,
    KERNEL,
    OUT,
    ROWS,
    SUMS,
    TAPS,
    TILE,
    winograd_conv,
    winograd_correlate,
)

ULP = np.finfo(np.float32).eps


def test_the_three_matrices_make_a_convolution():
    """`sum_a OUT[i, a] KERNEL[a, u] ROWS[a, j]` is 1 where j = i + u and 0 elsewhere, in exact numbers."""
    out, kernel, rows = ([[Fraction(round(24 * v), 24) for v in row] for row in m] for m in (OUT, KERNEL, ROWS))
    for i in range(TILE):
        for u in range(TAPS):
            for j in range(SUMS):
                assert sum(out[i][a] * kernel[a][u] * rows[a][j] for a in range(SUMS)) == (j == i + u)


def plain(x, kernel, pad):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=layout)


def drawn(*shapes):
    return [jax.random.uniform(jax.random.key(i), shape, minval=-1.0) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize(("h", "w"), [(3, 3), (4, 7), (9, 5), (11, 12), (16, 3)])
def test_it_is_the_plain_one(h, w, pad):
    x, kernel, g = drawn((3, h, w, 5), (3, 3, 5, 4), (3, h + 2 * pad - 2, w + 2 * pad - 2, 4))
    terms = 9 * 5
    np.testing.assert_allclose(
        winograd_conv(x, kernel, pad), plain(x, kernel, pad), rtol=0, atol=GROWTH * ULP * np.sqrt(terms)
    )
    expected = jax.grad(lambda k: jnp.vdot(plain(x, k, pad), g))(kernel)
    terms = g.size
    np.testing.assert_allclose(winograd_correlate(x, g, pad), expected, rtol=0, atol=GROWTH * ULP * np.sqrt(terms))


def test_large_batches_are_added_up_in_pieces(monkeypatch):
    x, g = drawn((6, 8, 8, 3), (6, 8, 8, 2))
    whole = winograd_correlate(x, g, 1)
    monkeypatch.setattr("restore_jax.nets.winograd.PIECE_PX", 128)
    pieces = jax.make_jaxpr(lambda x, g: winograd_correlate(x, g, 1))(x, g)
    assert "f32[2,8,8,2]" in str(pieces)
    assert "length=2" in str(pieces)
    np.testing.assert_allclose(winograd_correlate(x, g, 1), whole, rtol=0, atol=GROWTH * ULP * np.sqrt(g.size))


@pytest.mark.parametrize(
    ("channels", "rows", "dtype", "halved"),
    [
        (8, 8, jnp.float32, []),
        (16, 8, jnp.float32, ["conv"]),
        (32, 8, jnp.float32, ["conv", "correlate"]),
        (48, 7, jnp.float32, []),
        (48, 8, jnp.bfloat16, []),
    ],
)
def test_when_it_stands_for_the_plain_one(channels, rows, dtype, halved, monkeypatch):
    """Between many channels, of many rows, in single precision and above."""
    called = []
    for name in ("conv", "correlate"):
        form = getattr(conv, f"winograd_{name}")
        monkeypatch.setattr(conv, f"winograd_{name}", lambda *a, name=name, form=form: called.append(name) or form(*a))
    monkeypatch.setattr(conv, "by_eigen", lambda: True)
    x, kernel = (a.astype(dtype) for a in drawn((1, rows, 8, channels), (3, 3, channels, channels)))
    for form, other in [(conv._conv, kernel), (conv._correlate, x)]:
        assert jax.eval_shape(lambda x, y, form=form: form(x, y, pad=1), x, other).dtype == dtype
    assert called == halved
