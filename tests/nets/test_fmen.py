"""FMEN: the published weights give the published figure; its reach; what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.fmen import FMEN
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


def test_fmen_loads(shared):
    found, psnr = published(shared, "team03_fmen.pth")
    assert build(found.net) == FMEN()
    assert sum(a.size for a in jax.tree.leaves(found.params)) == 341_066
    assert abs(psnr - 28.248) < 0.005  # with PyTorch, same weights; Set5's mean is 32.029


def test_its_reach_counts_the_convolutions_in_a_row():
    """stem, warm-up, body, upsampler; (2 + 4), then 4 times (2 + 2 + 2)."""
    assert FMEN().receptive_px == (4 + 6 + 4 * 6) * 4
    assert FMEN(mids=(3,), inner=(1,), scale=2).receptive_px == (4 + 4) * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, r"FMEN\.width is 1 or more, got 0"),
        ({"scale": 0}, r"FMEN\.scale is 1 or more, got 0"),
        ({"mids": ()}, r"FMEN\.mids .* got \(\)"),
        ({"mids": (4, 0), "inner": (1, 1)}, r"FMEN\.mids .* got \(4, 0\)"),
        ({"mids": (4, 4), "inner": (1,)}, r"FMEN\.inner .* 2 mids, .* got \(1,\)"),
        ({"mids": (4,), "inner": (0,)}, r"FMEN\.inner .* got \(0,\)"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        FMEN(**fields)
