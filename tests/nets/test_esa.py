"""The attention's parts against their formulas and PyTorch's; what it does with pictures that are too small."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.attention import gelu
from restore_jax.nets.esa import (
    ESA,
    LEAST,
    BlueprintConv,
    bilinear_matrix,
    count_blocks,
    max_pool,
    resize_bilinear,
    upsampler_weights,
)
from restore_jax.nets.layers import depthwise_as
from restore_jax.nets.torch_weights import Unfit, Weights

ULP = np.finfo(np.float32).eps


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(("n", "size"), [(1, 15), (2, 24), (5, 31), (7, 7), (41, 256), (9, 4)])
def test_a_ramp_stays_a_ramp_until_the_last_middle(n, size):
    """The value at a place is the place: what comes out are the places of the new middles, clamped to the old."""
    middles = np.arange(n) + 0.5
    want = np.clip((np.arange(size) + 0.5) * n / size, 0.5, n - 0.5)
    np.testing.assert_allclose(bilinear_matrix(n, size) @ middles, want, rtol=1e-13)
    np.testing.assert_allclose(bilinear_matrix(n, size).sum(1), 1, rtol=1e-13)


@pytest.mark.parametrize(
    ("small", "large"), [((1, 1), (15, 17)), ((2, 3), (24, 31)), ((7, 5), (50, 33)), ((6, 9), (4, 9))]
)
def test_resize_is_pytorchs(small, large):
    torch = pytest.importorskip("torch", reason="its interpolate is the reference")
    x = draw(2, *small, 3)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(x)).permute(0, 3, 1, 2), large, mode="bilinear", align_corners=False
    )
    # PyTorch's places are float32 (n ulps of them) and both add four products: some ten roundings of 10 pixels' span.
    np.testing.assert_allclose(
        resize_bilinear(x, *large), theirs.permute(0, 2, 3, 1), rtol=0, atol=50 * ULP * float(jnp.abs(x).max())
    )


@pytest.mark.parametrize("form", ["shifts", "conv"])
@pytest.mark.parametrize("size", [(7, 7), (9, 12), (10, 13)], ids=str)
def test_max_pool_is_the_largest_of_each_window(form, size):
    x = draw(2, *size, 3)
    with depthwise_as(form):
        got = max_pool(x, 7, 3)
    rows, columns = ((side - 7) // 3 + 1 for side in size)
    want = [[x[:, 3 * i : 3 * i + 7, 3 * j : 3 * j + 7].max((1, 2)) for j in range(columns)] for i in range(rows)]
    np.testing.assert_array_equal(got, np.moveaxis(np.asarray(want), 2, 0))


def test_gelu_is_x_times_the_normal_distribution_function():
    x = np.linspace(-8, 8, 161)
    want = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x]
    # 1 + erf is rounded at 1, where erf itself is good to a few ulps; times x / 2.
    np.testing.assert_allclose(gelu(jnp.asarray(x, jnp.float32)), want, rtol=0, atol=4 * 8 * ULP)


def test_a_blueprint_convolution_is_a_dense_one_of_rank_one_kernels():
    """`K[u, v, i, o] = pw[i, o] dw[u, v, o]`; its bias `pw_bias` meets zeros outside, so it is left out here."""
    x = draw(1, 9, 8, 3)
    conv = BlueprintConv(4, strides=2, padding="VALID")
    params = {"pw": {"kernel": draw(3, 4)}, "dw": {"kernel": draw(3, 3, 1, 4, seed=1), "bias": draw(4, seed=2)}}
    dense = params["pw"]["kernel"][None, None] * params["dw"]["kernel"]
    want = jax.lax.conv_general_dilated(x, dense, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    want = want + params["dw"]["bias"].reshape(1, 1, 1, 4)
    np.testing.assert_allclose(conv.apply({"params": params}, x), want, rtol=0, atol=1e-5)


def attention(x, depth=1):
    """An attention with everything at random."""
    net = ESA(2, depth=depth)
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)
    leaves, tree = jax.tree.flatten(shapes)
    return net, jax.tree.unflatten(tree, [0.7 * draw(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])


def test_a_gate_of_zeros_halves():
    x = draw(1, 16, 19, 3)
    net, params = attention(x, depth=3)
    params["params"]["expand"] = jax.tree.map(jnp.zeros_like, params["params"]["expand"])
    np.testing.assert_array_equal(net.apply(params, x), 0.5 * x)


@pytest.mark.parametrize(
    "size", [(1, 1), *(pytest.param(size, marks=pytest.mark.soak) for size in ((14, 20), (15, 3)))], ids=str
)
def test_a_small_picture_is_gated_as_a_part_of_its_continuation(size):
    h, w = size
    x = draw(2, h, w, 3)
    net, params = attention(x)
    wide = np.pad(np.asarray(x), [(0, 0), (0, max(LEAST - h, 0)), (0, max(LEAST - w, 0)), (0, 0)], mode="symmetric")
    want = net.apply(params, jnp.asarray(wide))[:, :h, :w]
    np.testing.assert_allclose(net.apply(params, x), want, rtol=0, atol=4 * ULP * float(jnp.abs(x).max()))


def test_the_least_side_is_taken_as_it_is():
    """The convolution's 7x7 places become one: the gate's coarse part is the same everywhere, their maximum."""
    x = draw(1, LEAST, LEAST, 3)
    net, params = attention(x)
    p = params["params"]
    reduced = x @ p["reduce"]["kernel"] + p["reduce"]["bias"].reshape(1, 1, 1, 2)
    down = jax.lax.conv_general_dilated(
        reduced, p["down"]["kernel"], (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert down.shape[1:3] == (7, 7)
    pooled = down.max((1, 2)) + p["down"]["bias"][None]
    coarse = pooled @ p["conv0"]["kernel"][1, 1] + p["conv0"]["bias"][None]  # a 3x3 of one pixel among zeros
    skip = reduced @ p["skip"]["kernel"] + p["skip"]["bias"].reshape(1, 1, 1, 2)
    gate = (coarse[:, None, None] + skip) @ p["expand"]["kernel"] + p["expand"]["bias"].reshape(1, 1, 1, 3)
    np.testing.assert_allclose(net.apply(params, x), x * jax.nn.sigmoid(gate), rtol=0, atol=1e-5)


def test_state_dicts_that_are_something_else_do_not_fit():
    w = Weights({"up.weight": np.zeros((13, 4, 3, 3)), "B2.c.weight": np.zeros(1)})
    with pytest.raises(Unfit, match="up"):
        upsampler_weights(w, "up", 3)
    with pytest.raises(Unfit, match="B1"):
        count_blocks(w, "B{}.c.weight")
