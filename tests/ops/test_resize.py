"""Cubic resampling: what Keys' kernel reproduces, and MATLAB's weights by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.ops.resize import cubic, resize, resize_weights, separable

SIZES = [(12, 6), (12, 3), (12, 5), (12, 24), (12, 17), (7, 7), (1, 4), (4, 1)]
EPS64 = 2.3e-16


def test_cubic_interpolates():
    """1 at 0, 0 at the other whole numbers, and copies of it sum to 1 wherever they stand."""
    np.testing.assert_array_equal(cubic(np.arange(-3.0, 4.0)), [0, 0, 0, 1, 0, 0, 0])
    for offset in np.linspace(0, 1, 7):
        assert abs(cubic(np.arange(-3, 4) + offset).sum() - 1) < 10 * EPS64


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_rows_sum_to_one(n_in, n_out, antialias):
    weights = resize_weights(n_in, n_out, antialias)
    assert weights.shape == (n_out, n_in)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=20 * EPS64)


def test_halving_by_hand():
    """An inner row of MATLAB's antialiased halving: the kernel at +-1/4, 3/4, 5/4, 7/4, halved."""
    row = resize_weights(12, 6)[2]
    side = cubic(np.array([1.75, 1.25, 0.75, 0.25])) / 2
    np.testing.assert_allclose(row[1:9], [*side, *side[::-1]], atol=10 * EPS64)
    np.testing.assert_array_equal(row[[0, 9, 10, 11]], 0)


def test_borders_are_mirrored_with_the_edge_repeated():
    """As if the signal went ... 2 1 0 | 0 1 2 ...: the same weights on a signal that is mirrored by hand."""
    x = np.random.default_rng(0).uniform(size=12)
    long = np.concatenate([x[::-1], x, x[::-1]])
    for n_out in (3, 6, 24):
        middle = slice(n_out, 2 * n_out)
        np.testing.assert_allclose(
            resize_weights(12, n_out) @ x, (resize_weights(36, 3 * n_out) @ long)[middle], atol=20 * EPS64
        )


@pytest.mark.parametrize(("n_in", "n_out"), [(24, 12), (24, 8), (12, 24), (12, 30), (24, 18)])
def test_a_ramp_stays_a_ramp(n_in, n_out):
    """Away from the borders, when doubling or halving alike: sample i of the output stands at (i + 1/2) n_in / n_out.

    Exact for the interpolating kernel (Keys, eq. 10); a widened kernel is symmetric about its centre and sums to 1
    before normalisation, which suffices at whole-number reductions only.
    """
    where = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    widened = n_out < n_in
    reach = 2 * max(n_in / n_out, 1)
    inside = (where > reach) & (where < n_in - 1 - reach)
    assert inside.any()
    moved = (resize_weights(n_in, n_out) @ np.arange(n_in))[inside] - where[inside]
    if not widened or n_in % n_out == 0:
        np.testing.assert_allclose(moved, 0, atol=50 * n_in * EPS64)
    np.testing.assert_allclose(
        (resize_weights(n_in, n_out, antialias=False) @ np.arange(n_in) - where)[inside], 0, atol=1e-13
    )


def test_equal_size_is_the_identity():
    for n in (1, 2, 7):
        np.testing.assert_array_equal(resize_weights(n, n), np.eye(n))
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 6, 5, 3)), jnp.float32)
    np.testing.assert_array_equal(resize(x, 6, 5), x)


def test_resize_is_its_matrices():
    """In float64 by numpy, on a batch; 17 + 12 terms of weights below 1.3 in all."""
    x = np.random.default_rng(0).uniform(size=(2, 12, 7, 3))
    reference = np.einsum("ph,qw,bhwc->bpqc", resize_weights(12, 5), resize_weights(7, 9), x)
    with jax.enable_x64(True):
        np.testing.assert_allclose(resize(jnp.asarray(x), 5, 9), reference, rtol=0, atol=40 * EPS64)
    y = resize(jnp.asarray(x, jnp.float32), 5, 9)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, reference, rtol=0, atol=40 * 1.2e-7)


def test_separables_compose():
    """First one pair of matrices, then another, is the pair of products."""
    draw = np.random.default_rng(0)
    x, a, b, c, d = (
        jnp.asarray(draw.uniform(size=s) / 6, jnp.float32) for s in [(6, 5, 2), (4, 6), (3, 5), (2, 4), (5, 3)]
    )
    np.testing.assert_allclose(separable(separable(x, a, b), c, d), separable(x, c @ a, d @ b), rtol=20 * 1.2e-7)


def test_up_and_down_again_is_near():
    """Not exact, cubics are no projection; but a smooth picture comes back to a hundredth."""
    i = np.arange(16) / 16
    x = jnp.asarray(
        0.5 + 0.5 * np.sin(2 * np.pi * i)[:, None, None] * np.cos(2 * np.pi * i)[None, :, None], jnp.float32
    )
    assert jnp.abs(resize(resize(x, 32, 32), 16, 16) - x)[2:-2, 2:-2].max() < 0.01


@pytest.mark.parametrize(("n_in", "n_out"), [(0, 4), (4, 0)])
def test_nothing_cannot_be_resampled(n_in, n_out):
    with pytest.raises(ValueError, match=f"Cannot resample {n_in} samples to {n_out}: both must be at least 1"):
        resize_weights(n_in, n_out)


def test_weights_are_kept_and_cannot_be_changed():
    assert resize_weights(12, 6) is resize_weights(12, 6)
    with pytest.raises(ValueError, match="read-only"):
        resize_weights(12, 6)[0, 0] = 1
