"""What the laws and the twin's small example leave open: three levels, norms without bias, two views of a pixel."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.nets.restormer import Restormer, ScaleNorm
from restore_jax.nets.torch_weights import UnknownArchitecture, recognise

SMALL = {"width": 4, "blocks": (1, 1), "refinement": 0, "heads": (1, 1), "expansion": 2.0}


def count(net, channels=3):
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((1, 16, 16, channels)))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_the_published_net_has_26_million_parameters():
    # By hand: MDTA 4 c^2 + 27 c + heads, GDFN 3 c hidden + 18 hidden, two norms 4 c; between levels 3x3 convolutions.
    net, total = Restormer(), 0
    for c, n, heads in zip((48, 96, 192, 384, 192, 96, 96), (4, 6, 6, 8, 6, 6, 4 + 4), (1, 2, 4, 8, 4, 2, 1)):
        hidden = int(2.66 * c)
        total += n * (4 * c * c + 27 * c + heads + 3 * c * hidden + 18 * hidden + 4 * c)
    for c in (48, 96, 192):
        total += 9 * c * c // 2 + 9 * 2 * c * 4 * c  # down from c, up from 2 c
    total += 192 * 96 + 384 * 192 + 9 * 3 * 48 + 9 * 96 * 3
    assert count(net) == total
    assert total == pytest.approx(26.1e6, rel=2e-3)  # the authors' 26.1 M (Restormer, table 7)


def test_scale_norm_divides_by_the_deviation_and_keeps_the_mean():
    x = jnp.asarray([[3.0, 1.0], [-4.0, -8.0]])
    out = ScaleNorm().apply({"params": {"scale": jnp.asarray([1.0, 10.0])}}, x)
    np.testing.assert_allclose(out, [[3.0, 10.0], [-2.0, -40.0]], rtol=1e-5)  # epsilon: half of 1e-5
    y = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7)), jnp.float32)
    out = ScaleNorm(0.0).apply({"params": {"scale": jnp.ones(7)}}, y)
    normed = (y - y.mean(-1, keepdims=True)) / y.std(-1, keepdims=True)
    np.testing.assert_allclose(out - out.mean(-1, keepdims=True), normed, rtol=0, atol=2e-6)


def test_a_net_of_two_views_answers_with_one_picture():
    net = Restormer(**SMALL, dual_pixel=True)
    out = jax.eval_shape(net.init_with_output, jax.random.key(0), jnp.ones((1, 3, 5, 6)))[0]
    assert out.shape == (1, 3, 5, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"blocks": (1, 1, 1), "heads": (1, 2, 4), "centred": False, "use_bias": True, "refinement": 1},
        {"dual_pixel": True},
    ],
    ids=["denoiser", "two views"],
)
def test_other_published_arrangements_are_the_twins_too(fields):
    torch = pytest.importorskip("torch", reason="the twins are PyTorch modules")
    net = Restormer(**{**SMALL, **fields})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twin = importlib.import_module("benchmarks.torch_nets.restormer").twin(net)
        with torch.no_grad():
            for p in twin.parameters():
                p += 0.2 * torch.randn_like(p) / max(1, p[0].numel()) ** 0.5
    found = recognise({name: a.numpy() for name, a in twin.state_dict().items()})
    assert build(found.net) == net
    x = np.random.default_rng(0).uniform(size=(1, 8, 12, 6 if net.dual_pixel else 3)).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    ours = jax.jit(net.apply)({"params": jax.tree.map(jnp.asarray, found.params)}, jnp.asarray(x))
    # Some 40 layers, sums of up to a hundred products in another order: 1e-6, and what the layers after make of it.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_hidden_widths_that_no_expansion_has_are_of_another_net():
    torch = pytest.importorskip("torch", reason="the twins are PyTorch modules")
    twin = importlib.import_module("benchmarks.torch_nets.restormer").twin(Restormer(**SMALL))
    other = torch.nn.Conv2d(20, 8, 1, bias=False)  # level 0 has 8 of 4, and this has 20 of 8
    twin.latent[0].ffn.project_out = other
    with pytest.raises(UnknownArchitecture, match="one expansion for all levels"):
        recognise({name: a.numpy() for name, a in twin.state_dict().items()})


def test_bad_fields_are_named():
    x = jnp.ones((1, 8, 8, 3))
    for fields in ({"heads": (1,)}, {"blocks": (1,), "heads": (1,)}):
        with pytest.raises(ValueError, match=r"Restormer\.blocks and Restormer\.heads have one number a level"):
            jax.eval_shape(Restormer(**{**SMALL, **fields}).init, jax.random.key(0), x)
    with pytest.raises(ValueError, match="embed=8 and must be told c_noise"):
        jax.eval_shape(Restormer(**SMALL, embed=8).init, jax.random.key(0), x)
