"""RFDN: the published weights give the published figure; which layer takes what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.rfdn import RFDN
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


def test_the_baseline_of_the_challenge_loads(shared):
    found, psnr = published(shared, "rfdn_baseline.pth")
    assert found.net == {"name": "nets.rfdn.RFDN", "width": 50, "esa": 12, "blocks": 4, "scale": 4}
    assert sum(a.size for a in jax.tree.leaves(found.params)) == 433_448
    assert abs(psnr - 28.641) < 0.005  # with PyTorch, same weights; Set5's mean is 32.159


def test_odd_widths_keep_the_smaller_half():
    shapes = jax.eval_shape(RFDN(width=5, esa=2, blocks=1).init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    block = shapes["params"]["block0"]
    assert block["distil0"]["kernel"].shape == (5, 2)
    assert block["fuse"]["kernel"].shape == (8, 5)


@pytest.mark.parametrize(("field", "least"), [("width", 2), ("esa", 1), ("blocks", 1), ("scale", 1)])
def test_a_field_too_small_is_refused(field, least):
    with pytest.raises(ValueError, match=rf"RFDN\.{field} is {least} or more, got {least - 1}"):
        RFDN(**{field: least - 1})
