"""Estimates against photographs that were harmed by known amounts: monotone, and calibrated to what is stated."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from restore_jax.data.sets.embedded import Embedded
from restore_jax.infer.estimate import ESTIMATES, blockiness, blur_px, jpeg_quality, noise_std


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """The three held-out photographs, at half their size: what their own JPEG and cameras did is halved too."""
    pytest.importorskip("skimage", reason="the embedded photographs come with scikit-image")
    source = Embedded("heldout")
    halves = [Image.fromarray(source[i][:480, :480]).reduce(2) for i in range(len(source))]
    return [np.asarray(half) / np.float32(255) for half in halves]


def coded(x: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray((255 * x + 0.5).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_noise_adds_in_squares(photographs):
    """Within 8 % of `sqrt(own^2 + added^2)`, and of the noise itself from 0.1 on."""
    rng = np.random.default_rng(0)
    for x in photographs:
        own = noise_std(x)
        noisy = lambda std, x=x: (x + std * rng.standard_normal(x.shape)).astype(np.float32)
        found = [noise_std(noisy(std)) for std in (0.02, 0.05, 0.1, 0.2)]
        np.testing.assert_allclose(found, np.hypot(own, [0.02, 0.05, 0.1, 0.2]), rtol=0.08)
        np.testing.assert_allclose(found[2:], [0.1, 0.2], rtol=0.08)


def test_pure_noise_is_measured():
    """49 eigenvalues of 10,000 patches that overlap: within 3 %; of levels too."""
    noise = 0.5 + 0.05 * np.random.default_rng(1).standard_normal((128, 128, 3))
    assert abs(noise_std(noise.astype(np.float32)) / 0.05 - 1) < 0.03
    assert abs(noise_std((255 * noise + 0.5).astype(np.uint8)) / 0.05 - 1) < 0.03
    assert noise_std(np.full((64, 64, 3), 0.5, np.float32)) < 1e-6
    assert noise_std(np.zeros((4, 4, 3), np.float32)) == 0.0


def test_blur_adds_in_squares(photographs):
    """Within 25 % of `sqrt(own^2 + added^2)` at 1 pixel and 12 % at 2 and 3; smaller blurs only grow."""
    for x in photographs:
        found = [blur_px(gaussian_filter(x, (std, std, 0))) for std in (0.0, 0.5, 1.0, 2.0, 3.0)]
        assert found == sorted(found)
        np.testing.assert_allclose(found[2], np.hypot(found[0], 1.0), rtol=0.25)
        np.testing.assert_allclose(found[3:], np.hypot(found[0], [2.0, 3.0]), rtol=0.12)
    assert found[0] < 1.0


def test_the_blur_of_a_step_is_exact():
    """The closed form, to the sampling of the slope by central differences."""
    step = np.repeat(np.arange(128)[None] >= 64, 64, 0).astype(np.float32)[..., None]
    for std in (1.0, 2.0, 3.0):
        assert abs(blur_px(gaussian_filter(step, (std, std, 0))) / np.hypot(std, 0.58) - 1) < 0.12
    assert blur_px(np.zeros((64, 64, 3), np.float32)) == 0.0


def test_blockiness_grows_as_quality_falls(photographs):
    for x in photographs:
        found = [blockiness(np.asarray(Image.open(io.BytesIO(coded(x, q))))) for q in (80, 60, 40, 20, 10)]
        assert found == sorted(found)
        assert blockiness(x) < 1.2 < 1.45 < found[1]
        crop = np.asarray(Image.open(io.BytesIO(coded(x, 20))))[3:, 5:]
        assert abs(blockiness(crop) / found[3] - 1) < 0.2  # wherever the grid begins
    assert blockiness(np.zeros((8, 8, 3), np.float32)) == 1.0


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 90, 98])
def test_quality_is_read_from_the_tables(quality):
    x = np.random.default_rng(0).random((16, 16, 3), np.float32)
    assert jpeg_quality(coded(x, quality)) == quality
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "PNG")
    assert jpeg_quality(file.getvalue()) is None
    assert jpeg_quality(b"nothing") is None
    assert set(ESTIMATES) == {"noise", "blur", "blockiness"}
