"""Resampling between canvases against pictures that have the size as their shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.ops.canvas import KERNELS, resample, resample_weights

X = np.random.default_rng(0).random((10, 14, 3), np.float32)
PICTURE = jnp.asarray(X)
EPS = 2.0**-23


def area(x, m):
    """The exact mean over each footprint: the integral of a step function, differenced at the footprints' ends."""
    n = x.shape[0]
    integral = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x.astype(float), 0)])
    ends = np.arange(m + 1) * n / m
    below = np.minimum(ends.astype(int), n - 1)
    at = integral[below] + (ends - below)[:, None, None] * x[below]
    return np.diff(at, axis=0) * m / n


def interpolated(x, m, weight, reach):
    """By the definition, tap by tap, from the mirrored picture."""
    n, out = x.shape[0], []
    for i in range(m):
        centre = (i + 0.5) * n / m - 0.5
        taps = np.arange(int(np.floor(centre)) - reach + 1, int(np.floor(centre)) + reach + 1)
        mirrored = np.where(taps < 0, -1 - taps, np.where(taps >= n, 2 * n - 1 - taps, taps))
        out.append(sum(weight(abs(centre - t)) * x[j].astype(float) for t, j in zip(taps, mirrored)))
    return np.stack(out)


def cubic(d, a=-0.75):
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


REFERENCES = {
    "area": area,
    "linear": lambda x, m: interpolated(x, m, lambda d: max(1 - d, 0), 1),
    "cubic": lambda x, m: interpolated(x, m, cubic, 2),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("m", [(5, 7), (4, 9), (10, 14)])
def test_the_corner_is_the_picture_of_that_size(kernel, m):
    """Coordinates up to 28 carry 28 eps, which a slope of up to 1.3 turns into weight; 4 weights a pass, two passes."""
    expected = REFERENCES[kernel](REFERENCES[kernel](X, m[0]).swapaxes(0, 1), m[1]).swapaxes(0, 1)
    canvas = jnp.pad(X, ((0, 6), (0, 2), (0, 0)), constant_values=7.0)  # what lies beyond is not read
    f = jax.jit(lambda m: resample(canvas, (10.0, 14.0), (16, 16), m, KERNELS.index(kernel)))
    np.testing.assert_allclose(f(tuple(map(float, m)))[: m[0], : m[1]], expected, rtol=0, atol=2 * 4 * 2 * 28 * EPS)


def test_enlarging_by_interpolation_is_that_of_the_definition():
    expected = REFERENCES["linear"](X, 15)
    ours = resample(PICTURE, (10.0, 14.0), (15, 14), (15.0, 14.0), 1)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2 * 4 * 2 * 28 * EPS)


@pytest.mark.parametrize("kernel", range(len(KERNELS)))
def test_beyond_the_corner_lies_the_mirror_image(kernel):
    y = resample(PICTURE, (10.0, 14.0), (12, 16), (6.0, 8.0), kernel)
    np.testing.assert_allclose(y[6:], y[:6][::-1], atol=1e-5)
    np.testing.assert_allclose(y[:, 8:], y[:, :8][:, ::-1], atol=1e-5)


def test_rows_sum_to_one_at_any_size():
    for m_in, m_out in ((9.0, 1.0), (3.0, 16.0), (16.0, 16.0), (1.0, 5.0)):
        for kernel in range(len(KERNELS)):
            weights = resample_weights(16, 16, m_in, m_out, kernel)
            np.testing.assert_allclose(weights.sum(1), 1.0, atol=16 * EPS)
            assert not weights[:, int(m_in) :].any()
