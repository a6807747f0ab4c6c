"""Compressed sensing: which frequencies, how many, and the closed form against numpy's matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import pinv
from restore_jax.degrade.fourier import Fourier, FourierMask

KEYS = jax.random.split(jax.random.key(3), 400)


def masks(degrade, shape=(16, 12, 1)):
    return np.asarray(jax.jit(jax.vmap(lambda key: degrade(key, jnp.zeros(shape)).operator.mask))(KEYS))[..., 0]


def reversed_frequencies(mask):
    """At each k what is at -k, by indices."""
    h, w = mask.shape[-2:]
    return mask[..., (-np.arange(h)) % h, :][..., (-np.arange(w)) % w]


def test_is_the_masked_transform_of_numpy(key):
    """To the rounding of numbers up to sqrt(16 x 12)."""
    x = np.random.default_rng(0).uniform(size=(16, 12, 2))
    obs = FourierMask(acceleration=2.0)(key, jnp.asarray(x, jnp.float32))
    z = np.fft.fft2(x, axes=(0, 1), norm="ortho") * np.asarray(obs.operator.mask)
    np.testing.assert_allclose(obs.y, np.concatenate([z.real, z.imag], axis=-1), rtol=0, atol=14 * 4 * 1.2e-7)
    zero_filled = np.fft.ifft2(z, axes=(0, 1), norm="ortho")
    assert np.abs(zero_filled.imag).max() < 1e-12  # the mask is symmetric
    np.testing.assert_allclose(obs.cond["image"], zero_filled.real, rtol=0, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_solve_against_matrices(symmetric):
    """With any weights, by the whole matrix in doubles: at 0 numpy's pseudo-inverse of A A^T, else its inverse."""
    draw = np.random.default_rng(0)
    weights = draw.uniform(0.5, 1.5, (4, 3)) * (draw.uniform(size=(4, 3)) < 0.6)
    weights[1, 1] = 0.0  # whose mirror image, (3, 2), is not 0: one of a pair is measured
    weights[3, 2] = 1.0
    if symmetric:
        weights = weights + reversed_frequencies(weights)
    with jax.enable_x64(True):
        a = Fourier(in_shape=(4, 3, 1), mask=jnp.asarray(weights)[..., None])
        matrix = np.asarray(jax.vmap(a)(jnp.eye(12).reshape(12, 4, 3, 1))).reshape(12, 24).T
        r = draw.normal(size=(4, 3, 2))
        gram = matrix @ matrix.T
        expected = np.linalg.pinv(gram, rcond=1e-12, hermitian=True) @ r.ravel()
        np.testing.assert_allclose(np.ravel(a.solve(jnp.asarray(r), 0.0)), expected, atol=1e-12)
        expected = np.linalg.solve(gram + 0.3 * np.eye(24), r.ravel())
        np.testing.assert_allclose(np.ravel(a.solve(jnp.asarray(r), 0.3)), expected, atol=1e-12)
        values = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(np.sort(np.ravel(a.spectrum())), np.sort(values), atol=1e-7)  # roots of 1e-16


def test_everything_measured_is_everything_known(key):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 6, 3)), jnp.float32)
    obs = FourierMask(acceleration=1.0)(key, x)
    assert (obs.operator.mask == 1).all()
    np.testing.assert_allclose(pinv(obs.operator, obs.y), x, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("pattern", "centre"), [("lines", 0.2), ("pixels", 0.1), ("pixels", 0.0)])
def test_one_in_four_is_measured(pattern, centre):
    """The mean share of 400 masks, pairs of frequencies together: a variance of at most 2 / (4 n) for n units each."""
    seen = masks(FourierMask(acceleration=4.0, centre=centre, pattern=pattern))
    units = 16 if pattern == "lines" else 16 * 12
    assert abs(seen.mean() - 0.25) < 5 * np.sqrt(2 * 0.25 / units / 400)
    np.testing.assert_array_equal(seen, reversed_frequencies(seen))
    assert (seen[:, 0, 0] == 1).all()
    assert 0 < seen[:, 8, 6].mean() < 1
    if pattern == "lines":
        np.testing.assert_array_equal(seen, np.broadcast_to(seen[:, :, :1], seen.shape))
        assert seen[:, [1, -1]].all()  # 3 of 16 lines lie in the centre, 0.2 x 16 = 3.2
        assert not seen[:, 2].all()
    elif centre:
        assert seen[:, [2, -2, 0, 0], [1, -1, 1, -1]].all()  # sqrt(0.1) of each side: 5 x 3 frequencies
        assert not seen[:, 3, 0].all()
        assert not seen[:, 0, 2].all()


def test_accelerations_from_a_range():
    shares = masks(FourierMask(acceleration=(2.0, 8.0), centre=0.1, pattern="pixels")).mean(axis=(1, 2))
    assert shares.min() < 0.2
    assert shares.max() > 0.4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FourierMask(acceleration=0.5), r"FourierMask\.acceleration must be .* in \[1, inf\], not 0.5"),
        (lambda: FourierMask(acceleration=(2.0, 8.0), centre=0.2), r"\.centre must lie in .* = \[0, 0.125\], not 0.2"),
        (lambda: FourierMask(centre=-0.1), r"FourierMask\.centre must lie in"),
        (lambda: FourierMask(pattern="spiral"), r"FourierMask\.pattern must be 'lines' or 'pixels', not 'spiral'"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
