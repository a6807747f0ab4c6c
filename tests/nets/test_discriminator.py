"""What a patch discriminator owes; its shapes and reach are those of the paper's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.discriminator import (
    MultiScale,
    PatchConv,
    PatchDiscriminator,
    UNetDiscriminator,
    doubled,
    halved,
    largest_singular,
)
from restore_jax.ops.resize import resize

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


def singular_values(kernel):
    return np.linalg.svd(np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]), compute_uv=False)


@pytest.mark.parametrize("shape", [(4, 4, 3, 8), (4, 4, 1, 64), (4, 4, 8, 1), (3, 3, 8, 32)], ids=str)
def test_the_largest_singular_value_is_numpy_s(shape, key):
    kernel = jax.random.normal(key, shape)
    first, second = [*singular_values(kernel), 0.0][:2]
    found = float(jax.jit(largest_singular)(kernel))
    # Products of 256 rounds cost roundings of the sum alone; what power iteration leaves is (second / first)^1024 of
    # the share that the start has in the second direction, some tens at most.
    assert first * (1 - 64 * ULP - 30 * (second / first) ** 1024) <= found <= first * (1 + 64 * ULP)


def test_the_largest_singular_value_where_two_are_all_but_equal():
    """Power iteration cannot tell them apart, and need not: what it finds lies between."""
    kernel = jnp.asarray(np.diag([1.0, 0.9999, 0.5, 0.1]).reshape(2, 2, 1, 4), jnp.float32)
    assert 0.9999 <= largest_singular(kernel) <= 1 + 4 * ULP


def test_no_scale_is_too_small_or_too_large_for_it():
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))
    largest = jax.jit(largest_singular)
    one = float(largest(kernel))
    for scale in (1e-4, 1e6):
        np.testing.assert_allclose(largest(scale * kernel) / scale, one, rtol=20 * ULP)
    assert largest(0 * kernel) == 0


def test_its_slope_is_the_outer_product_of_the_singular_vectors(key):
    kernel = jax.random.normal(key, (2, 2, 3, 5)).at[0, 0, 0, 0].add(6.0)  # apart from the second
    u, _, v = np.linalg.svd(np.asarray(kernel, np.float64).reshape(-1, 5), full_matrices=False)
    slope = jax.jit(jax.grad(largest_singular))(kernel).reshape(-1, 5)
    np.testing.assert_allclose(slope, np.outer(u[:, 0], v[0]), atol=50 * ULP)


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


class TestUNet:
    @pytest.mark.parametrize("size", [(1, 1), (16, 12), (33, 20)], ids=str)
    def test_a_logit_a_pixel_at_any_size(self, size):
        net, x = UNetDiscriminator(4), jnp.zeros((2, *size, 3))
        logits = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, x)[0], x)
        assert logits.shape == (2, *size, 1)

    def test_published_size(self):
        """Real-ESRGAN's has 4,376,897 weights: ten convolutions, of which the first and the last have biases."""
        shapes = jax.eval_shape(UNetDiscriminator(64).init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
        kernels = [9 * 3 * 64, 16 * 64 * 128, 16 * 128 * 256, 16 * 256 * 512]
        kernels += [9 * 512 * 256, 9 * 256 * 128, 9 * 128 * 64, 9 * 64 * 64, 9 * 64 * 64, 9 * 64]
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == sum(kernels) + 64 + 1 == 4_376_897

    def test_neighbours_condition_and_gradients(self, key):
        net = UNetDiscriminator(2, levels=2)
        x, cond = (jax.random.normal(one, (2, 8, 8, 3)) for one in jax.random.split(key))
        params = loaded(net, x, cond)

        @jax.jit
        def slopes(x, cond):
            squared = lambda params: jnp.sum(net.apply({"params": params}, x, cond)[1] ** 2)
            return jax.value_and_grad(squared)(params)

        value, grads = slopes(x, cond)
        for path, grad in jax.tree_util.tree_leaves_with_path(grads):
            assert np.isfinite(grad).all(), path
            assert np.abs(grad).max() > 0, path
        np.testing.assert_array_equal(slopes(x.at[0].add(1.0), cond)[0], value)
        assert abs(slopes(x, cond.at[1].add(1.0))[0] - value) > 1e-4 * value

    def test_without_a_u_it_is_refused(self):
        with pytest.raises(ValueError, match=r"UNetDiscriminator\.levels must be 1 or above, not 0"):
            UNetDiscriminator(4, levels=0)


def test_doubled_is_linear_interpolation(key):
    x = jax.random.uniform(key, (2, 3, 5, 2))
    np.testing.assert_allclose(doubled(x), resize(x, 6, 10, kernel="linear"), atol=4 * ULP)


class TestMultiScale:
    def test_each_scale_is_its_judge_of_the_halved_picture(self, key):
        judge = PatchDiscriminator(2, 1)
        net, x = MultiScale(judge, 3), jax.random.normal(key, (1, 6, 5, 3))
        params = loaded(net, x, x)
        assert sorted(params) == ["scale0", "scale1", "scale2"]

        @jax.jit
        def both(x):
            smaller = (x, halved(x), halved(halved(x)))
            alone = [judge.apply({"params": params[f"scale{k}"]}, p, p) for k, p in enumerate(smaller)]
            return net.apply({"params": params}, x, x), alone

        for logits, alone in zip(*both(x), strict=True):
            np.testing.assert_allclose(logits, alone, rtol=1e-5, atol=1e-6)

    def test_halved(self):
        x = jnp.arange(6.0).reshape(1, 3, 2, 1)
        np.testing.assert_array_equal(halved(x)[0, :, 0, 0], [1.5, 4.5])  # the last row is its own mirror image

    def test_no_scale_is_refused(self):
        with pytest.raises(ValueError, match=r"MultiScale\.scales must be 1 or above, not 0"):
            MultiScale(PatchDiscriminator(2, 1), 0)
