"""What the laws and the twin's small examples leave open: the other upsamplers, JPEG's range, bad fields."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.nets.swinir import SwinIR
from restore_jax.nets.torch_weights import recognise

SMALL = {"width": 8, "depths": (1,), "heads": 2, "window": 4, "features": 8}


@pytest.mark.parametrize(
    "fields",
    [
        {"upsampler": "pixelshuffle", "scale": 4},
        {"upsampler": "nearest+conv", "scale": 4, "connection": "3conv"},
        {"upsampler": "", "scale": 1, "window": 7, "out_channels": 1, "features": 64},
    ],
    ids=["classical", "real", "jpeg"],
)
def test_other_published_arrangements_are_the_twins_too(fields):
    torch = pytest.importorskip("torch", reason="the twins are PyTorch modules")
    net = SwinIR(**{**SMALL, **fields})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twin = importlib.import_module("benchmarks.torch_nets.swinir").twin(net)
    found = recognise({name: a.numpy() for name, a in twin.state_dict().items()})
    assert build(found.net) == net
    shape = (1, 2 * net.window, net.window, net.out_channels)
    x = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    ours = jax.jit(net.apply)({"params": jax.tree.map(jnp.asarray, found.params)}, jnp.asarray(x))
    # Some 15 layers, sums of up to 72 products in another order: 1e-6, and what the layers after make of it.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_the_published_lightweight_net_has_its_parameters():
    net = SwinIR(width=60, depths=(6, 6, 6, 6), upsampler="pixelshuffledirect", scale=2)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))["params"]
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    # A block: 4 c^2 + 4 c, 2 * 2 c^2 + 3 c, two norms 4 c, 15^2 displacements of 6 heads; convolutions; two norms more.
    block = 8 * 60**2 + 11 * 60 + 225 * 6
    assert total == 24 * block + 5 * (9 * 60**2 + 60) + 4 * 60 + (27 * 60 + 60) + (9 * 60 * 12 + 12)
    assert total == pytest.approx(878e3, rel=0.04)  # the paper's 878 K (table 3) count less than the code's layers


def test_bad_fields_are_named():
    x = jnp.ones((1, 8, 8, 3))
    for fields, message in (
        ({"upsampler": "bicubic"}, r"SwinIR\.upsampler is one of .*got 'bicubic'"),
        ({"connection": "2conv"}, r"SwinIR\.connection is one of .*got '2conv'"),
        ({"scale": 6}, r"SwinIR\.scale is 3 or a power of 2 with upsampler='pixelshuffle', got 6"),
        ({"upsampler": "", "scale": 2}, r"SwinIR\.scale is 1 with upsampler='', got 2"),
        ({"upsampler": "nearest+conv", "scale": 8}, r"SwinIR\.scale is 2 or 4 with upsampler='nearest\+conv', got 8"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(SwinIR(**{**SMALL, **fields}).init, jax.random.key(0), x)
