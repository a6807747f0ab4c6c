"""BSRN and BSRN-S: the published weights give the published figures; the stem and the channel attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build
from restore_jax.nets.bsrn import BSRN, ContrastAttention, repeated_stem
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import Unfit, Weights, recognise
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


def test_bsrn_loads(shared):
    found, psnr = published(shared, "net_g_BSRN_x4.pth")
    spec = {"name": "nets.bsrn.BSRN", "width": 64, "esa": 16, "cca": 4, "blocks": 8, "scale": 4}
    assert found.net == spec
    assert abs(psnr - 29.013) < 0.005  # with PyTorch, same weights; Set5's mean is 32.349


def test_bsrn_s_loads(shared):
    found, psnr = published(shared, "team18_bsrn.pth")
    assert found.net == {
        "name": "nets.bsrn.BSRN", "width": 48, "esa": 12, "blocks": 5, "scale": 4, "small": True
    }  # fmt: skip
    assert abs(psnr - 28.333) < 0.005  # with PyTorch, same weights; Set5's mean is 32.010


def test_a_stem_for_the_picture_four_times_over_takes_it_once():
    rng = np.random.default_rng(0)
    state = {"s.pw.weight": rng.normal(size=(5, 12, 1, 1)), "s.dw.weight": rng.normal(size=(5, 1, 3, 3))}
    state["s.dw.bias"] = rng.normal(size=5)
    channels, stem = repeated_stem(Weights(state), "s")
    x = rng.normal(size=3)
    assert channels == 3
    np.testing.assert_allclose(
        x @ stem["pw"]["kernel"], state["s.pw.weight"][:, :, 0, 0] @ np.tile(x, 4), rtol=0, atol=1e-5
    )
    with pytest.raises(Unfit):
        repeated_stem(Weights(state | {"s.pw.weight": np.zeros((5, 3, 1, 1))}), "s")


def test_contrast_is_deviation_plus_mean_and_flat_pictures_have_a_derivative():
    """squeeze and expand the identity: the gate is `sigmoid(std + mean)`, where that is positive."""
    net = ContrastAttention(2)
    identity = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    params = {"params": {"squeeze": identity, "expand": identity}}
    x = jnp.asarray([[0.0, 2.0], [2.0, 2.0]])[None, :, :, None] * jnp.asarray([1.0, 3.0]).reshape(1, 1, 1, 2)
    mean, std = 1.5, np.sqrt(0.75)  # of 0, 2, 2, 2
    gate = 1 / (1 + np.exp(-np.asarray([1.0, 3.0]) * (mean + std)))
    np.testing.assert_allclose(net.apply(params, x), x * gate.reshape(1, 1, 1, 2), rtol=1e-6)
    grad = jax.grad(lambda x: net.apply(params, x).sum())(jnp.ones((1, 1, 1, 2)))
    s = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(grad, np.full((1, 1, 1, 2), s + s * (1 - s)), rtol=1e-6)  # d/dx x sigmoid(x) at 1


@pytest.mark.parametrize(("field", "least"), [("width", 2), ("esa", 1), ("cca", 1), ("blocks", 1), ("scale", 1)])
def test_a_field_too_small_is_refused(field, least):
    with pytest.raises(ValueError, match=rf"BSRN\.{field} is {least} or more, got {least - 1}"):
        BSRN(**{field: least - 1})
