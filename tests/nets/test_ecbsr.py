"""ECBSR: five branches are one convolution, at the border too, and an answer of nothing is the nearest neighbour."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.nets.ecbsr import ECBSR, MASKS, EdgeConv, merged
from restore_jax.nets.torch_weights import UnknownArchitecture, recognise

RNG = np.random.default_rng(0)


def drawn(net, x):
    """Parameters that are all at random, biases too."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    return jax.tree.map(
        lambda a: jnp.asarray(RNG.normal(size=a.shape) / np.sqrt(a.size / a.shape[-1]), a.dtype), shapes
    )


def test_one_convolution_is_what_five_branches_are():
    x = jnp.asarray(RNG.normal(size=(1, 5, 4, 3)), jnp.float32)
    wide = EdgeConv(6, expand=3)
    params = drawn(wide, x)
    want = wide.apply({"params": params}, x)
    conv = nn.Conv(6, (3, 3))
    # Sums of 27, 162 and 27 products in another order, of numbers about 1: some 10 roundings.
    bound = 1e-5 * np.abs(want).max()
    np.testing.assert_allclose(conv.apply({"params": merged({"conv": params})["conv"]}, x), want, rtol=0, atol=bound)
    for branch in ("conv", "expand", "squeeze", "edges", "edge_scale"):  # each is heard
        without = {**params, branch: jax.tree.map(jnp.zeros_like, params[branch])}
        assert np.abs(conv.apply({"params": merged({"conv": without})["conv"]}, x) - want).max() > 1000 * bound


def test_the_edge_branches_filter_edges():
    """Alone, with scale 1 and one channel, they are the three filters, and flat pictures have no edges."""
    params = drawn(EdgeConv(1), jnp.zeros((1, 3, 3, 1)))
    params = jax.tree.map(jnp.zeros_like, params)
    for i, mask in enumerate(MASKS):
        alone = {**params, "edges": {"kernel": np.eye(3, dtype=np.float32)[i : i + 1]}, "edge_scale": np.ones((3, 1))}
        alone["edge_scale"] = alone["edge_scale"].astype(np.float32)
        kernel = merged({"conv": alone})["conv"]["kernel"]
        np.testing.assert_array_equal(kernel[:, :, 0, 0], mask)
        out = EdgeConv(1).apply({"params": alone}, jnp.ones((1, 5, 5, 1)))
        np.testing.assert_allclose(out[:, 1:-1, 1:-1], 0, atol=1e-6)
    np.testing.assert_array_equal(MASKS[1], MASKS[0].T)
    np.testing.assert_array_equal(MASKS[0] @ [1, 1, 1], 0)


def test_the_deployed_net_computes_what_the_trained_one_does():
    x = jnp.asarray(RNG.uniform(size=(1, 5, 4, 3)), jnp.float32)
    net = ECBSR(width=4, blocks=1, scale=2)
    params = drawn(net, x)
    want = jax.jit(net.apply)({"params": params}, x)
    deployed = merged(params)
    got = jax.jit(net.clone(deploy=True).apply)({"params": deployed}, x)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    assert all(merged(deployed)[name] is layer for name, layer in deployed.items())


def test_an_answer_of_nothing_is_the_nearest_neighbour():
    x = jnp.asarray(RNG.uniform(size=(1, 3, 4, 3)), jnp.float32)
    net = ECBSR(width=4, blocks=1, scale=3, deploy=True)
    params = jax.tree.map(jnp.zeros_like, drawn(net, x))
    want = np.repeat(np.repeat(x, 3, 1), 3, 2)
    np.testing.assert_array_equal(net.apply({"params": params}, x), want)


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"ECBSR\.out_channels=3 .* got 1 channels"):
        ECBSR(width=4, blocks=1).init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))


def test_a_file_with_other_filters_is_another_net():
    pytest.importorskip("torch", reason="the twin is a PyTorch module")
    from benchmarks.torch_nets.ecbsr import twin

    net = ECBSR(width=4, blocks=1, scale=2, out_channels=1)
    state = {name: a.numpy() for name, a in twin(net).state_dict().items()}
    assert build(recognise(state).net) == net
    name = "backbone.1.conv1x1_sby.mask"
    with pytest.raises(UnknownArchitecture, match=r"ecbsr.*backbone\.1\.conv1x1_sby\.mask with \[\[1\.0, 2\.0, 1\.0\]"):
        recognise(state | {name: state[name].swapaxes(2, 3)})
