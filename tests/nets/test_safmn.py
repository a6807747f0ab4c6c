"""SAFMN and SAFMN++: pooling into uneven cells, the published weights and their figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.safmn import SAFMN, SAFMNPlus, adaptive_max, at_least, repeated
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import recognise

STUDIO = np.asarray([65.481, 128.553, 24.966])  # BT.601, of 8-bit numbers, over 255


@pytest.mark.parametrize(("side", "cells"), [(12, 4), (13, 4), (7, 3), (5, 5), (3, 1)])
def test_adaptive_max_is_the_largest_of_each_cell(key, side, cells):
    x = np.asarray(jax.random.normal(key, (2, side, 6, 3)))
    bounds = [(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]
    expected = np.stack([x[:, low:high].max((1, 2), keepdims=True)[:, 0] for low, high in bounds], 1)
    np.testing.assert_array_equal(adaptive_max(jnp.asarray(x), cells, 1), expected)


def test_repeated_takes_the_nearest_above():
    x = jnp.arange(3.0).reshape(1, 3, 1, 1)
    np.testing.assert_array_equal(repeated(x, 7, 1).ravel(), [0, 0, 0, 1, 1, 2, 2])  # floor(3 i / 7)


def test_at_least_changes_only_what_is_smaller(key):
    x = jax.random.normal(key, (1, 3, 9, 1))
    grown = at_least(x, 8)
    assert grown.shape == (1, 8, 9, 1)
    np.testing.assert_array_equal(grown[:, :3], x)
    np.testing.assert_array_equal(grown[:, 3:6], x[:, ::-1])


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (SAFMN(10, 1, 4), "SAFMN.levels must divide width 10, got 4"),
        (SAFMN(8, 1, 4, scale=0), "SAFMN.scale must be 1 or more, got 0"),
        (SAFMNPlus(8, 1, 8), "SAFMNPlus.pooled must be between 0 and width 8, got 8"),
        (SAFMNPlus(8, 1, 4, scale=0), "SAFMNPlus.scale must be 1 or more, got 0"),
    ],
)
def test_what_cannot_be_is_refused(net, message):
    with pytest.raises(ValueError, match=message):
        net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def test_published_weights_give_their_figure(shared):
    """Y-PSNR of Set5's butterfly, x4, 4 pixels cropped; with the other four 32.018 dB on average, as published."""
    path = shared / "peers" / "weights" / "team23_safmnpp.pth"
    if not path.is_file():
        pytest.skip("team23_safmnpp.pth is not in ../shared/peers/weights")
    found, data = recognise(read_torch_file(path)), shared / "data" / "eval" / "Set5"
    low = np.asarray(Image.open(data / "LR_bicubic" / "X4" / "butterflyx4.png").convert("RGB"), np.float32) / 255
    reference = np.asarray(Image.open(data / "HR" / "butterfly.png").convert("RGB"), np.float64)
    out = jax.jit(build(found.net).apply)({"params": found.params}, jnp.asarray(low[None]))[0]
    out = np.round(np.clip(out, 0, 1) * 255).astype(np.float64)
    error = ((out - reference) @ STUDIO / 255)[4:-4, 4:-4]
    # In PyTorch: 28.2909. A pixel that rounds to the other side moves it by some 1e-5.
    assert 10 * np.log10(255**2 / np.mean(error**2)) == pytest.approx(28.2909, abs=0.001)
