"""CARN-M: grouped convolutions, the published weights for several scales, and their figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.carn import CARN, GroupConv
from restore_jax.nets.edsr import DIV2K_MEAN
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import recognise

STUDIO = np.asarray([65.481, 128.553, 24.966])  # BT.601, of 8-bit numbers, over 255


def test_group_conv_is_the_grouped_convolution(key):
    x = jax.random.normal(key, (2, 5, 4, 6))
    net = GroupConv(9, 3)
    params = net.init(key, x)["params"]
    params = {**params, "bias": jnp.arange(9.0)}
    expected = lax.conv_general_dilated(
        x,
        params["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=3,
    )
    # Sums of 18 products of numbers near 1, in another order.
    np.testing.assert_allclose(
        net.apply({"params": params}, x), expected + params["bias"].reshape(1, 1, 1, -1), atol=1e-5
    )


def test_groups_divide_the_width(key):
    with pytest.raises(ValueError, match=r"CARN.groups must divide width 8, got 3"):
        CARN(8, 3).init(key, jnp.zeros((1, 4, 4, 3)))


def test_published_weights_give_their_figure(shared):
    """Y-PSNR of Set5's butterfly, x4, 4 pixels cropped; with the other four 31.883 dB on average, as published."""
    path = shared / "peers" / "weights" / "carn_m.pth"
    if not path.is_file():
        pytest.skip("carn_m.pth is not in ../shared/peers/weights")
    found, data = recognise(read_torch_file(path)), shared / "data" / "eval" / "Set5"
    assert found.net == {
        "name": "nets.carn.CARN",
        "width": 64,
        "groups": 4,
        "scale": 4,  # the largest of three
        "out_channels": 3,
        "mean": DIV2K_MEAN,
    }
    low = np.asarray(Image.open(data / "LR_bicubic" / "X4" / "butterflyx4.png").convert("RGB"), np.float32) / 255
    reference = np.asarray(Image.open(data / "HR" / "butterfly.png").convert("RGB"), np.float64)
    out = jax.jit(build(found.net).apply)({"params": found.params}, jnp.asarray(low[None]))[0]
    out = np.round(np.clip(out, 0, 1) * 255).astype(np.float64)
    error = ((out - reference) @ STUDIO / 255)[4:-4, 4:-4]
    # In PyTorch: 27.9879. A pixel that rounds to the other side moves it by some 1e-5.
    assert 10 * np.log10(255**2 / np.mean(error**2)) == pytest.approx(27.9879, abs=0.001)
