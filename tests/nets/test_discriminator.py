"""What a patch discriminator owes; its shapes and reach are those of the paper's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.discriminator import PatchConv, PatchDiscriminator, largest_singular

ULP = np.finfo(np.float32).eps


def loaded(net, x, cond=None):
    """Parameters all at random: gains and biases of 1 and 0 hide what is done with them."""
    params = jax.eval_shape(net.init, jax.random.key(0), x, cond)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(0.2 + 0.2 * rng.normal(size=leaf.shape), leaf.dtype), params)


@pytest.mark.parametrize("size", [(1, 1), (16, 12), (33, 20)], ids=str)
@pytest.mark.parametrize("strides", [1, 3])
def test_a_logit_for_each_cell_of_a_picture_of_any_size(size, strides):
    net, x = PatchDiscriminator(4, strides), jnp.zeros((2, *size, 3))
    logits = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, x)[0], x)
    assert logits.shape == (2, *(-(-side // 2**strides) for side in size), 1)


@pytest.mark.parametrize(("strides", "side"), [(3, 70), (1, 16)])
def test_a_logit_sees_receptive_px_and_no_more(strides, side):
    """The 70 x 70 of the paper, and its 16 x 16: counted in the gradient of the logit in the middle."""
    net = PatchDiscriminator(2, strides)
    assert net.receptive_px == side
    x = jax.random.normal(jax.random.key(1), (1, 96, 96, 1))
    params = loaded(net, x)
    cell = 48 // 2**strides
    slope = jax.jit(jax.grad(lambda x: net.apply({"params": params}, x)[0, cell, cell, 0]))(x)
    seen = np.abs(slope[0, :, :, 0]) > 0
    for axis in (0, 1):
        rows = np.flatnonzero(seen.any(axis))
        assert rows.max() - rows.min() + 1 == side


@pytest.mark.parametrize("spectral", [False, True])
def test_a_picture_does_not_know_its_neighbours_and_the_condition_matters(spectral, key):
    net = PatchDiscriminator(4, 2, spectral)
    x, cond = (jax.random.normal(one, (2, 8, 8, 3)) for one in jax.random.split(key))
    params = loaded(net, x, cond)
    answer = jax.jit(lambda x, cond: net.apply({"params": params}, x, cond))
    logits = answer(x, cond)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(answer(x.at[0].add(1.0), cond)[1], logits[1])
    assert np.abs(answer(x, cond + 1.0) - logits).max() > 1e-4 * np.abs(logits).max()


@pytest.mark.parametrize("shape", [(4, 4, 3, 8), (4, 4, 1, 64), (4, 4, 8, 1)], ids=str)
def test_the_largest_singular_value_is_numpy_s(shape, key):
    kernel = jax.random.normal(key, shape)
    exact = np.linalg.norm(np.asarray(kernel, np.float64).reshape(-1, shape[-1]), 2)
    # The Gram matrix has the square, to d roundings of it; half of that in the root.
    np.testing.assert_allclose(largest_singular(kernel), exact, rtol=64 * ULP)


def test_a_spectral_convolution_does_not_feel_the_scale_of_its_kernel(key):
    x = jax.random.normal(key, (1, 8, 8, 3))
    free, net = PatchConv(5, 2), PatchConv(5, 2, spectral=True)
    params = net.init(key, x)["params"]
    larger = params | {"kernel": 7 * params["kernel"]}
    answer = net.apply({"params": params}, x)
    np.testing.assert_allclose(net.apply({"params": larger}, x), answer, rtol=1e-4, atol=1e-5)
    exact = np.linalg.norm(np.asarray(params["kernel"], np.float64).reshape(-1, 5), 2)
    np.testing.assert_allclose(free.apply({"params": params}, x) / exact, answer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spectral", [False, True])
def test_the_penalty_can_be_differentiated(spectral, key):
    """A gradient of the squared input gradient, finite, and not 0 for every kernel."""
    net = PatchDiscriminator(2, 1, spectral)
    x = jax.random.normal(key, (1, 8, 8, 1))
    params = loaded(net, x)

    def penalty(params):
        return jnp.sum(jax.grad(lambda x: jnp.sum(net.apply({"params": params}, x)))(x) ** 2)

    grads = jax.jit(jax.grad(penalty))(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), path
        if path[-1].key == "kernel":
            assert np.abs(grad).max() > 0, path
