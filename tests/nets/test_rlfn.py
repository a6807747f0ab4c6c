"""RLFN: the published weights give the published figure; a block by its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.rlfn import RLFN
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


def test_the_winner_of_the_runtime_track_loads(shared):
    found, psnr = published(shared, "team04_rlfn.pth")
    assert found.net == {"name": "nets.rlfn.RLFN", "width": 46, "mid": 48, "esa": 16, "blocks": 4, "scale": 4}
    assert abs(psnr - 28.534) < 0.005  # with PyTorch, same weights; Set5's mean is 32.097


def test_the_paper_counts_these_parameters():
    """Table 1: 543 k at x4 (the paper's RLFN), 317.2 k in the challenge."""
    shapes = jax.eval_shape(RLFN().init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    assert round(sum(a.size for a in jax.tree.leaves(shapes)) / 1e3) in (543, 544)


def test_a_fresh_net_of_scale_2_enlarges_twice():
    net = RLFN(width=4, mid=4, esa=2, blocks=1, scale=2)
    x = jax.random.uniform(jax.random.key(1), (1, 9, 16, 1))
    assert jax.eval_shape(net.init_with_output, jax.random.key(0), x)[0].shape == (1, 18, 32, 1)
    assert (net.factor, net.receptive_px, net.local) == (2, 12, False)


@pytest.mark.parametrize("field", ["width", "mid", "esa", "blocks", "scale"])
def test_a_field_of_nothing_is_refused(field):
    with pytest.raises(ValueError, match=rf"RLFN\.{field} is 1 or more, got 0"):
        RLFN(**{field: 0})
