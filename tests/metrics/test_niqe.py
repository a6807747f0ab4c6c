"""NIQE: the fit by closed forms, the distance, photographs harmed, and the script that fits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from restore_jax.metrics import niqe
from restore_jax.metrics.niqe import FEATURES, FITTED, Niqe, patch_features


@pytest.fixture(scope="module")
def measure():
    return jax.jit(Niqe())


def test_the_fit_knows_gauss_and_laplace():
    """Shape 2 and scale sqrt(2) std, shape 1 and scale std / sqrt(2); 40000 draws leave some per cent of each."""
    rng, side = np.random.default_rng(0), 200
    for draw, alpha, scale in (
        (rng.normal(size=(side, side)), 2.0, np.sqrt(2)),
        (rng.laplace(size=(side, side)), 1.0, 1.0),
    ):
        shape, left, right, _ = niqe._fit(jnp.asarray(draw, jnp.float32))
        np.testing.assert_allclose(shape, alpha, rtol=0.05)
        np.testing.assert_allclose([left, right], scale, rtol=0.08)


def test_photographs_harmed_are_further(measure):
    """192 x 192 of a held-out photograph, and the same with noise: further by a half at least."""
    x = jnp.asarray(skimage.data.coffee()[100:292, 200:392] / 255, jnp.float32)
    noisy = jnp.clip(x + 0.15 * jax.random.normal(jax.random.key(0), x.shape), 0, 1)
    values = measure(jnp.stack([x, noisy]))
    assert 0 < values[0] < 20
    assert values[1] > 1.5 * values[0]
    # A flat picture has no statistics at all.
    assert measure(jnp.full((2, 192, 192, 3), 0.5))[0] == jnp.inf


def test_the_file_is_ours_and_whole():
    held = json.loads(FITTED.read_text())
    assert len(held["mean"]) == FEATURES
    assert len(held["covariance"]) == FEATURES * (FEATURES + 1) // 2
    assert held["patches"] > 2 * FEATURES
    _, whiten, patch_px = niqe._pristine(str(FITTED))
    cov = np.zeros((FEATURES, FEATURES))
    cov[np.tril_indices(FEATURES)] = held["covariance"]
    cov = np.tril(cov) + np.tril(cov, -1).T
    np.testing.assert_allclose(whiten @ cov @ whiten.T, np.eye(FEATURES), atol=1e-3)
    assert patch_px == held["patch_px"] == 96


def test_what_is_too_small_or_of_another_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"even patches of 96 pixels a side; \(95, 200\) has none"):
        Niqe()(jnp.zeros((95, 200, 3)))
    with pytest.raises(ValueError, match="Divide 8-bit ones by 255"):
        Niqe()(jnp.full((96, 96, 3), 255.0))
    with pytest.raises(ValueError, match="NIQE measures pictures of 1 or 3 channels, not of 2"):
        patch_features(jnp.zeros((1, 96, 96, 2)))
    with pytest.raises(ValueError, match=r"no such file; experiments/niqe_fit\.py writes one"):
        Niqe(str(tmp_path / "absent.json"))(jnp.zeros((96, 96, 3)))
    with pytest.raises(ValueError, match="needs more than 72 sharp patches, not 0 of 0 pictures"):
        niqe.fit([])
