"""A protocol is data: the same fields, the same cases and the same stamp."""

import jax
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from configs.protocols.x4 import get_config
from restore_jax.evaluate.protocol import Protocol
from restore_jax.ops.resize import resize
from restore_jax.photo.write import write

EMBEDDED = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
GAUSSIAN = {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5}
NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}


def test_cases_are_the_same_twice_and_depend_on_the_seed():
    first, again, other = (Protocol(EMBEDDED, NOISE, seed=s).cases for s in (0, 0, 1))
    for (name, obs, x), (name_2, obs_2, x_2), (_, obs_3, _) in zip(first, again, other):
        assert name == name_2
        np.testing.assert_array_equal(x, x_2)
        np.testing.assert_array_equal(obs.y, obs_2.y)
        assert np.abs(np.asarray(obs.y) - np.asarray(obs_3.y)).max() > 0


def test_photographs_are_cropped_to_the_multiple():
    for _, obs, x in Protocol(EMBEDDED, NOISE, multiple=64).cases:
        assert x.shape[0] % 64 == 0
        assert x.shape[1] % 64 == 0
        assert obs.y.shape == x.shape


def test_what_is_compared():
    picture = np.linspace(-0.5, 1.5, 8 * 8 * 3).reshape(8, 8, 3)
    seen = Protocol(EMBEDDED, NOISE, border_px=2).compared(picture)
    assert seen.shape == (4, 4, 3)
    np.testing.assert_allclose(seen * 255, np.round(seen * 255), atol=1e-4)
    assert seen.min() >= 0
    assert seen.max() <= 1
    whole = Protocol(EMBEDDED, NOISE, quantize=False).compared(picture)
    np.testing.assert_allclose(whole, np.clip(picture, 0, 1), rtol=1e-6)


def test_the_stamp_tells_protocols_apart():
    stamps = [
        Protocol(EMBEDDED, NOISE).stamp()["hash"],
        Protocol(EMBEDDED, NOISE, seed=1).stamp()["hash"],
        Protocol(EMBEDDED, NOISE, quantize=False).stamp()["hash"],
        Protocol(EMBEDDED, NOISE | {"std": 0.2}).stamp()["hash"],
    ]
    assert len(set(stamps)) == 4
    assert stamps[0] == Protocol(EMBEDDED, NOISE).stamp()["hash"]


def test_stored_pairs_are_taken_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (9, 12, 3), np.uint8), rng.integers(0, 256, (4, 6, 3), np.uint8)
    for name, picture in (("hr", x), ("lr", y)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.png", picture)
    spec = {
        "name": "data.sets.pairs.Pairs",
        "clean": str(tmp_path / "hr"),
        "observed": str(tmp_path / "lr"),
        "scale": 2,
    }
    ((name, obs, clean),) = Protocol(pairs=spec).cases
    assert name == "a"
    np.testing.assert_array_equal(obs.y, y.astype(np.float32) / 255)
    np.testing.assert_array_equal(clean, x[:8].astype(np.float32) / 255)


def test_luma_is_that_of_the_rounded_picture():
    picture = np.random.default_rng(0).uniform(-0.2, 1.2, (12, 12, 3)).astype(np.float32)
    seen = Protocol(EMBEDDED, NOISE, color="luma", border_px=4).compared(picture)
    rounded = np.floor(np.clip(picture, 0, 1) * 255 + 0.5)[4:-4, 4:-4]
    by_hand = (16 + rounded @ np.float64([65.481, 128.553, 24.966]) / 255) / 255  # BT.601, as MATLAB's rgb2ycbcr
    assert seen.shape == (4, 4, 1)
    np.testing.assert_allclose(seen[..., 0], by_hand, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [{}, {"photographs": EMBEDDED}, {"degrade": NOISE}, {"photographs": EMBEDDED, "degrade": NOISE, "pairs": {}}],
    ids=["nothing", "undegraded", "of nothing", "both"],
)
def test_one_source_whole(fields):
    with pytest.raises(ValueError, match="Protocol takes photographs and degrade, or pairs"):
        Protocol(**fields)


def test_fields_out_of_range():
    with pytest.raises(ValueError, match=r"Protocol\.border_px must be 0 or more, not -1"):
        Protocol(EMBEDDED, NOISE, border_px=-1)
    with pytest.raises(ValueError, match=r"Protocol\.border_px = 4 leaves nothing"):
        Protocol(EMBEDDED, NOISE, border_px=4).compared(np.zeros((8, 9, 3)))


def test_bicubic_on_stored_set5_has_its_published_figure(shared):
    """28.43 dB and 0.8111, to 0.01 dB and 0.0005: our cubic is not rounded between its passes, as MATLAB's is not."""
    protocol = Protocol(**get_config("Set5", str(shared / "data/eval")))
    cubic = jax.jit(resize, static_argnums=(1, 2))
    figures = []
    for _, obs, x in protocol.cases:
        h, w = (4 * side for side in obs.y.shape[:2])
        pair = [protocol.compared(picture) for picture in (np.asarray(cubic(obs.y, h, w)), x)]
        psnr = peak_signal_noise_ratio(pair[1], pair[0], data_range=1.0)
        figures.append((psnr, structural_similarity(*(a[..., 0] for a in pair), data_range=1.0, **GAUSSIAN)))
    psnr, ssim = np.mean(figures, 0)
    assert abs(psnr - 28.43) < 0.01
    assert abs(ssim - 0.8111) < 0.0005
