"""Convolution by the Fourier transform, against SciPy's direct sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage

from restore_jax.ops.fourier import BOUNDARIES, convolve, convolve_circular, fast_length, otf

SCIPY_MODES = {
    "circular": "wrap",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
    "zero": "constant",
}
H, W = 9, 7


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(H, W, 2))


def kernel(p, q):
    """Nothing symmetric about it, so that a turned, shifted or transposed kernel shows; its sum is 1."""
    k = np.random.default_rng(1).uniform(size=(p, q))
    return k / k.sum()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [(5, 3), (1, 7)])
def test_is_scipys_convolution(x, boundary, size):
    """In float64: a transform of n < 256 values up to 1 rounds by log2(n) eps of their norm, 16, three times: 1e-13."""
    k = kernel(*size)
    with jax.enable_x64(True):
        y = convolve(jnp.asarray(x), jnp.asarray(k), boundary)
    reference = np.stack([scipy.ndimage.convolve(x[..., c], k, mode=SCIPY_MODES[boundary]) for c in (0, 1)], axis=-1)
    np.testing.assert_allclose(y, reference, rtol=0, atol=1e-13)


def test_an_even_kernel_has_its_centre_after_the_middle(x):
    """The pixel (2, 1) of a 4 x 2 kernel is the centre: alone, it is the identity (to the rounding above)."""
    k = np.zeros((4, 2))
    k[2, 1] = 1.0
    with jax.enable_x64(True):
        for boundary in BOUNDARIES:
            np.testing.assert_allclose(convolve(jnp.asarray(x), jnp.asarray(k), boundary), x, rtol=0, atol=1e-13)


def test_a_bright_pixel_becomes_the_kernel():
    """Not the kernel turned: that would be a correlation. Float32 rounding of values up to 1, as above: 1e-5."""
    k = kernel(3, 3)
    x = jnp.zeros((H, W, 1)).at[4, 3].set(1.0)
    y = convolve_circular(x, jnp.asarray(k, jnp.float32))
    np.testing.assert_allclose(y[3:6, 2:5, 0], k, rtol=0, atol=1e-5)


def test_a_batch_is_convolved_picture_by_picture(x):
    """The same transforms in another loop: float32 rounding."""
    k = jnp.asarray(kernel(3, 3), jnp.float32)
    xs = jnp.asarray(np.stack([x, x[::-1], 1 - x]), jnp.float32)
    for boundary in ("circular", "reflect"):
        one_by_one = jnp.stack([convolve(one, k, boundary) for one in xs])
        np.testing.assert_allclose(convolve(xs, k, boundary), one_by_one, rtol=0, atol=1e-5)


def test_otf_at_frequency_zero_is_the_sum_and_a_centred_pixel_is_flat():
    assert abs(otf(jnp.asarray(kernel(5, 3), jnp.float32), H, W)[0, 0] - 1) < 15 * 1.2e-7
    flat = otf(jnp.zeros((3, 3)).at[1, 1].set(1.0), H, W)
    assert flat.shape == (H, W // 2 + 1)
    np.testing.assert_allclose(flat, 1.0, rtol=0, atol=1e-6)


def test_fast_length_is_scipys():
    for n in (1, 2, 7, 11, 67, 121, 277, 1025):
        assert fast_length(n) == scipy.fft.next_fast_len(n, real=True)


def test_bad_input_is_refused(x):
    x = jnp.asarray(x, jnp.float32)
    with pytest.raises(ValueError, match="one of circular, reflect, symmetric, replicate, zero, not 'wrap'"):
        convolve(x, jnp.ones((3, 3)), "wrap")
    for boundary in ("circular", "zero"):
        with pytest.raises(ValueError, match=r"11 x 3 pixels .* (picture, )?9 x 7"):
            convolve(x, jnp.ones((11, 3)), boundary)
