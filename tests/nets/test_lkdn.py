"""LKDN: the published weights give the published figure; the dilated depthwise convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.layers import depthwise_as
from restore_jax.nets.lkdn import LKDN, dilated_depthwise_conv
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import recognise
from restore_jax.ops.color import studio_luma


def published(shared, file, name="butterfly"):
    """The net of a published file, and its PSNR on a picture of Set5: on luma, 8 bits, 4 pixels cropped."""
    folder = shared / "data" / "eval" / "Set5"
    found = recognise(read_torch_file(shared / "peers" / "weights" / file))
    y, x = (
        jnp.asarray(np.asarray(Image.open(path).convert("RGB")) / np.float32(255))
        for path in (folder / "LR_bicubic" / "X4" / f"{name}x4.png", folder / "HR" / f"{name}.png")
    )
    out = jax.jit(build(found.net).apply)({"params": found.params}, y[None])[0]
    error = studio_luma(jnp.round(255 * jnp.clip(out, 0, 1)) / 255) - studio_luma(x)
    return found, -10 * np.log10(np.mean(np.square(np.asarray(error)[4:-4, 4:-4], dtype=np.float64)))


def test_lkdn_loads(shared):
    found, psnr = published(shared, "LKDN_x4.pth")
    assert found.net == {"name": "nets.lkdn.LKDN", "width": 56, "blocks": 8, "scale": 4}
    assert abs(psnr - 28.984) < 0.005  # with PyTorch, same weights; Set5's mean is 32.390


@pytest.mark.parametrize("form", ["shifts", "conv"])
@pytest.mark.parametrize("size", [(1, 1), (7, 15), (18, 9)], ids=str)
def test_dilated_convolution_is_the_sum_it_says(form, size):
    """Sums of 25 products of numbers of order 1, in float32: 25 roundings of 5."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, *size, 3)), rng.normal(size=(5, 5, 1, 3))
    h, w = size
    wide = np.pad(x, [(0, 0), (6, 6), (6, 6), (0, 0)])
    want = sum(kernel[u, v, 0] * wide[:, 3 * u : 3 * u + h, 3 * v : 3 * v + w] for u in range(5) for v in range(5))
    with depthwise_as(form):
        got = dilated_depthwise_conv(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), 3)
    np.testing.assert_allclose(got, want, rtol=0, atol=125 * 1.2e-7)


def test_its_reach_is_what_the_paper_draws():
    """8 blocks of four 3x3 and a 17x17, and three 3x3 outside: 8 (4 + 8) + 3 pixels of x."""
    assert LKDN().receptive_px == 99 * 4


@pytest.mark.parametrize(("field", "least"), [("width", 2), ("blocks", 1), ("scale", 1)])
def test_a_field_too_small_is_refused(field, least):
    with pytest.raises(ValueError, match=rf"LKDN\.{field} is {least} or more, got {least - 1}"):
        LKDN(**{field: least - 1})
