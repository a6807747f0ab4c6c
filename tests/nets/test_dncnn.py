"""DnCNN: it takes noise away and nothing else, and batch normalisation is in the convolution before it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.nets.dncnn import DnCNN
from restore_jax.nets.torch_weights import UnknownArchitecture, recognise

RNG = np.random.default_rng(0)


def test_fresh_it_is_the_identity_and_learns():
    net = DnCNN(width=4, depth=3)
    x = jnp.asarray(RNG.uniform(size=(1, 5, 4, 3)), jnp.float32)
    params = net.init(jax.random.key(0), x)["params"]
    np.testing.assert_array_equal(net.apply({"params": params}, x), x)
    grads = jax.grad(lambda p: jnp.sum((net.apply({"params": p}, x) - 0.5) ** 2))(params)
    assert np.abs(grads["conv2"]["kernel"]).max() > 0


def test_it_reaches_as_far_as_the_paper_says():
    assert DnCNN(depth=17).receptive_px == (35 - 1) // 2  # section III.B: the field of DnCNN with depth 17 is 35 x 35


def test_errors_say_what_to_do():
    x = jnp.zeros((1, 4, 4, 1))
    with pytest.raises(ValueError, match=r"DnCNN\.depth must be at least 2.*got 1"):
        DnCNN(depth=1, out_channels=1).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"DnCNN\.out_channels=3 .* got 1 channels"):
        DnCNN().init(jax.random.key(0), x)


@pytest.mark.parametrize(
    ("prefix", "biases", "epsilon"),
    [("model.", (True, True, True), 1e-4), ("dncnn.", (True, False, False), 1e-4), ("dncnn.", (False,) * 3, 1e-5)],
    ids=["KAIR", "authors", "reimplementation"],
)
def test_batch_normalisation_is_folded(prefix, biases, epsilon):
    torch = pytest.importorskip("torch", reason="the reference is PyTorch's batch normalisation")
    nn = torch.nn
    head, body, tail = biases
    layers = [nn.Conv2d(1, 4, 3, padding=1, bias=head), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(4, 4, 3, padding=1, bias=body), nn.BatchNorm2d(4, eps=epsilon), nn.ReLU()]
    stack = nn.Sequential(*layers, nn.Conv2d(4, 1, 3, padding=1, bias=tail)).eval()
    with torch.no_grad():
        for a in stack.state_dict().values():
            if a.is_floating_point():
                # Variances near epsilon: the wrong one of the two would be seen.
                a.copy_(
                    torch.from_numpy(RNG.uniform(0.001, 0.004, a.shape) if a.ndim == 1 else RNG.normal(size=a.shape))
                )
        x = RNG.uniform(size=(2, 5, 6, 1)).astype(np.float32)
        want = x - stack(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    found = recognise({prefix + name: a.numpy() for name, a in stack.state_dict().items()})
    net = build(found.net)
    assert net == DnCNN(width=4, depth=4, out_channels=1)
    got = jax.jit(net.apply)({"params": found.params}, jnp.asarray(x))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def stack(depth: int, inputs: int, outputs: int, width: int = 4) -> dict[str, np.ndarray]:
    channels = [inputs, *[width] * (depth - 1), outputs]
    state = {}
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        state |= {f"model.{2 * i}.weight": np.ones((b, a, 3, 3), np.float32), f"model.{2 * i}.bias": np.ones(b)}
    return state


def test_what_has_its_names_and_is_another_net_is_not_taken_for_it():
    assert recognise(stack(8, 3, 3)).net["name"] == "nets.dncnn.DnCNN"
    with pytest.raises(UnknownArchitecture, match=r"dncnn.*IRCNN has 7, .* dilated"):
        recognise(stack(7, 3, 3))
    with pytest.raises(UnknownArchitecture, match=r"dncnn.*answers 3 channels, not 4"):  # a map of the level beside x
        recognise(stack(8, 4, 3))
    assert recognise(stack(8, 5, 4)).net == {"name": "nets.ffdnet.FFDNet", "width": 4, "depth": 8, "out_channels": 1}
