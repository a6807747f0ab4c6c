"""Every metric against its reference value, computed here: another library's, numpy's in float64, or a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import convolve, gaussian_filter, uniform_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore_jax.metrics.consistency import DownsampleConsistency
from restore_jax.metrics.frechet import fid, frechet_distance, kid
from restore_jax.metrics.gmsd import Gmsd
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.metrics.pixel import Charbonnier, Mse, PseudoHuber
from restore_jax.metrics.psnr import Psnr
from restore_jax.metrics.ssim import MsSsim, Ssim
from restore_jax.metrics.temporal import WarpingError
from restore_jax.nets import efficientnet
from restore_jax.ops.resize import imresize_uint8, resize_weights
from tests.metrics.peers import nchw, peer

EPS = 1.2e-7
CAT = skimage.data.chelsea()[60:108, 130:194] / 255  # 48 x 64
HARMED = np.clip(gaussian_filter(CAT, (1, 1, 0)) + 0.05 * np.random.default_rng(0).normal(size=CAT.shape), 0, 1)
BIG = skimage.data.chelsea()[60:236, 130:306] / 255  # 176 x 176: five scales, each of which halves evenly
BIG_HARMED = np.clip(gaussian_filter(BIG, (1, 1, 0)) + 0.05 * np.random.default_rng(1).normal(size=BIG.shape), 0, 1)
SETS = [np.random.default_rng(2).normal(size=(20, 6)), 0.3 + 1.5 * np.random.default_rng(3).normal(size=(30, 6))]


def y(x):
    return (16 + x @ np.array([65.481, 128.553, 24.966])) / 255


def skimage_ssim(a, b, **fields):
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return structural_similarity(b, a, **window, **fields)


def ms_ssim(a, b, weights=(0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
    """One channel, with scipy's filters and 2x2 means, valid positions alone."""
    blur = lambda p: gaussian_filter(p, 1.5, truncate=3.4)[5:-5, 5:-5]
    value = 1.0
    for k, weight in enumerate(weights):
        m, n = blur(a), blur(b)
        v, u, both = blur(a * a) - m * m, blur(b * b) - n * n, blur(a * b) - m * n
        structure = (2 * both + 9e-4) / (v + u + 9e-4)
        light = (2 * m * n + 1e-4) / (m * m + n * n + 1e-4) if k + 1 == len(weights) else 1.0
        value *= max((light * structure).mean(), 0) ** weight
        a, b = (uniform_filter(p, 2, origin=-1)[::2, ::2] for p in (a, b))
    return value


def gmsd(a, b):
    """With scipy's convolutions and zeros outside."""
    prewitt, maps = np.array([[1, 0, -1]] * 3) / 3, []
    for p in (a, b):
        grey = convolve(p @ np.array([0.299, 0.587, 0.114]), np.full((2, 2), 0.25), mode="constant")[::2, ::2]
        maps.append(np.hypot(*(convolve(grey, k, mode="constant") for k in (prewitt, prewitt.T))))
    c = 170 / 255**2
    return ((2 * maps[0] * maps[1] + c) / (maps[0] ** 2 + maps[1] ** 2 + c)).std()


def perceptual(a, b):
    if not efficientnet.installed():
        pytest.skip(efficientnet.MISSING)
    f, g = (efficientnet.features(efficientnet.pretrained(), jnp.asarray(p, jnp.float32)[None], 1)[0] for p in (a, b))
    f, g = (
        np.asarray(p, np.float64) / np.sqrt((np.asarray(p, np.float64) ** 2).sum(-1, keepdims=True) + 1e-6)
        for p in (f, g)
    )
    return ((f - g) ** 2).sum(-1).mean()


def small(a):
    rows, cols = resize_weights(48, 12), resize_weights(64, 16)
    return np.einsum("ph,qw,hwc->pqc", rows, cols, a)


def kid_by_loops(a, b):
    k = lambda u, v: (u @ v / len(u) + 1) ** 3
    own = lambda s: np.mean([k(u, v) for i, u in enumerate(s) for j, v in enumerate(s) if i != j])
    return own(a) + own(b) - 2 * np.mean([k(u, v) for u in a for v in b])


def frechet_by_sqrtm(a, b):
    cov = [np.cov(s, rowvar=False) for s in (a, b)]
    mean = a.mean(0) - b.mean(0)
    return mean @ mean + np.trace(cov[0] + cov[1] - 2 * sqrtm(cov[0] @ cov[1]).real)


def gaussians(a, b):
    return frechet_distance(a.mean(0), jnp.cov(a, rowvar=False), b.mean(0), jnp.cov(b, rowvar=False))


def steady(a, b):
    """Two frames and no motion: the mean squared difference."""
    return WarpingError()(jnp.stack([a, b]), jnp.zeros((1, 48, 64, 2)))


# Tolerances: relative to the value, float32's roundings of a mean of some thousand terms of one sign, times what the
# formula makes of them: 1 / c_2 = 1100 where SSIM's variances are small, a few hundred where two near numbers are
# subtracted, the depth of the network for features. dB are 4.3 times a relative error, of 20-odd dB.
PAIR, PAIR_BIG = (HARMED, CAT), (BIG_HARMED, BIG)
TABLE = {
    "Mse": (Mse(), PAIR, lambda a, b: ((a - b) ** 2).mean(), 30 * EPS),
    "Charbonnier": (Charbonnier(), PAIR, lambda a, b: (np.sqrt((a - b) ** 2 + 1e-6) - 1e-3).mean(), 30 * EPS),
    "PseudoHuber": (PseudoHuber(c=0.1), PAIR, lambda a, b: np.sqrt(((a - b) ** 2).mean() + 0.01) - 0.1, 300 * EPS),
    "Psnr": (Psnr(), PAIR, lambda a, b: peak_signal_noise_ratio(b, a, data_range=1), 30 * EPS),
    "Psnr-Y": (
        Psnr(luma=True, border_px=4),
        PAIR,
        lambda a, b: peak_signal_noise_ratio(y(b)[4:-4, 4:-4], y(a)[4:-4, 4:-4], data_range=1),
        30 * EPS,
    ),
    "Ssim": (Ssim(), PAIR, lambda a, b: skimage_ssim(a, b, channel_axis=-1), 4e-5),
    "Ssim-Y": (
        Ssim(luma=True, border_px=4),
        PAIR,
        lambda a, b: skimage_ssim(y(a)[4:-4, 4:-4], y(b)[4:-4, 4:-4]),
        4e-5,
    ),
    "MsSsim": (
        MsSsim(),
        PAIR_BIG,
        lambda a, b: np.mean([ms_ssim(a[..., k], b[..., k]) for k in range(3)]),
        4e-5,
    ),
    "Gmsd": (Gmsd(), (HARMED[:47, :61], CAT[:47, :61]), gmsd, 300 * EPS),
    "Perceptual": (Perceptual(stages=(0,)), PAIR, perceptual, 1e-5),
    "DownsampleConsistency": (
        lambda a, b: DownsampleConsistency()(a, b[:12, :16]),
        PAIR,
        lambda a, b: peak_signal_noise_ratio(b[:12, :16], small(a), data_range=2) - 20 * np.log10(2),
        30 * EPS,
    ),
    "WarpingError": (steady, PAIR, lambda a, b: ((a - b) ** 2).mean(), 30 * EPS),
    "frechet_distance": (gaussians, SETS, frechet_by_sqrtm, 300 * EPS),
    "fid": (fid, SETS, frechet_by_sqrtm, 300 * EPS),
    "kid": (kid, SETS, kid_by_loops, 300 * EPS),
}


@pytest.mark.parametrize("name", TABLE)
def test_equals_its_reference(name):
    metric, pair, reference, rtol = TABLE[name]
    expected = reference(*pair)
    assert abs(expected) > 1e-4
    ours = jax.jit(metric)(*(jnp.asarray(p, jnp.float32) for p in pair))
    np.testing.assert_allclose(ours, expected, rtol=rtol)


PIQ = {"ssim": (Ssim(), PAIR), "multi_scale_ssim": (MsSsim(), PAIR_BIG), "gmsd": (Gmsd(), PAIR)}


@pytest.mark.parametrize("name", PIQ)
def test_equals_piq(name):
    """Written by others; in float32, like ours. piq halves a picture before SSIM above 256 pixels, and only there."""
    metric, pair = PIQ[name]
    theirs = getattr(peer("piq"), name)(*(nchw(p).float() for p in pair), data_range=1.0)
    ours = jax.jit(metric)(*(jnp.asarray(p, jnp.float32) for p in pair))
    np.testing.assert_allclose(ours, float(theirs), rtol=8e-5)


def test_bicubic_set5_is_the_published_number(shared):
    """Set5 x4 enlarged by MATLAB's bicubic, 8 bits, Y without 4 pixels at each side: 28.43 dB, 0.8111."""
    folder = shared / "data" / "eval" / "Set5"
    if not folder.is_dir():
        pytest.skip("../shared/data/eval/Set5 is not here")
    both = jax.jit(
        lambda a, b: [metric(a, b) for metric in (Psnr(luma=True, border_px=4), Ssim(luma=True, border_px=4))]
    )
    values = []
    for path in sorted((folder / "HR").glob("*.png")):
        (low,) = (folder / "LR_bicubic" / "X4").glob(f"{path.stem}*")
        y_small = np.asarray(Image.open(low).convert("RGB"))
        h, w = (4 * n for n in y_small.shape[:2])
        x = jnp.asarray(np.asarray(Image.open(path).convert("RGB"))[:h, :w], jnp.float32) / 255
        x_hat = jnp.asarray(imresize_uint8(jnp.asarray(y_small), h, w), jnp.float32) / 255
        values.append(both(x_hat, x))
    assert len(values) == 5
    db, likeness = np.mean(values, axis=0)
    np.testing.assert_allclose(db, 28.43, atol=0.01)
    np.testing.assert_allclose(likeness, 0.8111, atol=0.0005)
