"""Convolutions in their fast forms: nn.Conv, value and derivatives, whatever the channels."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from restore_jax.nets.conv import LAYOUT, PIECE_PX, Conv, dense_conv_p, filled
from restore_jax.nets.layers import depthwise_as

ULP = np.finfo(np.float32).eps


CHANNELS = (1, 3, 16, 17, 32, 46, 48, 50)


def test_whole_lanes(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert [filled(n) for n in CHANNELS] == [1, 3, 16, 32, 32, 48, 48, 64]


def test_eigen_needs_none(monkeypatch):
    monkeypatch.setenv(
        "XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
    )
    assert tuple(filled(n) for n in CHANNELS) == CHANNELS


def both(features, **fields):
    return Conv(features, (3, 3), **fields), nn.Conv(features, (3, 3), **fields)


@pytest.mark.parametrize(("c", "d"), [(3, 20), (18, 34), (20, 3), (16, 1)])
@pytest.mark.parametrize(
    "fields",
    [{}, {"strides": 2, "padding": "VALID"}, {"padding": "VALID"}, {"padding": 2}, {"kernel_dilation": 2}],
    ids=str,
)
def test_it_is_the_plain_one(c, d, fields):
    ours, plain = both(d, **fields)
    x = jax.random.normal(jax.random.key(0), (2, 7, 9, c))
    params = plain.init(jax.random.key(1), x)
    # Sums of 9 c products of numbers of size one, in another order.
    bound = 9 * c * ULP * 9
    np.testing.assert_allclose(ours.apply(params, x), plain.apply(params, x), rtol=0, atol=bound)

    def slopes(conv):
        return jax.grad(lambda params, x: jnp.sum(jnp.sin(conv.apply(params, x))), (0, 1))(params, x)

    for one, other in zip(jax.tree.leaves(slopes(ours)), jax.tree.leaves(slopes(plain))):
        np.testing.assert_allclose(one, other, rtol=0, atol=126 * d * ULP * 9)


def test_it_has_the_same_parameters():
    x = jnp.ones((1, 4, 4, 18))
    ours, plain = (conv.init(jax.random.key(0), x) for conv in both(20))
    jax.tree.map(np.testing.assert_array_equal, ours, plain)


def test_zeros_are_added_on_a_cpu_and_never_in_a_graph_that_leaves():
    conv, _ = both(20)
    x = jnp.ones((1, 4, 4, 18))
    params = conv.init(jax.random.key(0), x)

    def kernels():
        jaxpr = jax.make_jaxpr(lambda x: conv.apply(params, x))(x)
        return [
            e.invars[1].aval.shape for e in jaxpr.eqns if e.primitive.name in ("conv_general_dilated", "dense_conv")
        ]

    with depthwise_as("shifts"):
        assert kernels() == [(3, 3, 32, 32)]
    with depthwise_as("conv"):
        assert kernels() == [(3, 3, 18, 20)]


def test_groups_stay_as_they_are():
    x = jax.random.normal(jax.random.key(0), (1, 5, 5, 36))
    ours, plain = both(36, feature_group_count=2)
    params = plain.init(jax.random.key(1), x)
    np.testing.assert_array_equal(ours.apply(params, x), plain.apply(params, x))


def dense_conv(x, kernel):
    return dense_conv_p.bind(x, kernel, pad=1)


def plain_conv(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


@pytest.fixture(scope="module")
def pictures():
    """Two pictures of more than one piece, three kernels for each, and a cotangent."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 50, 52, 2))
    return x, jax.random.normal(keys[1], (3, 3, 2, 3)), jax.random.normal(keys[2], (2, 50, 52, 3))


def close(ours, plain, terms):
    """Sums of so many products of numbers of size one."""
    np.testing.assert_allclose(ours, plain, rtol=0, atol=4 * ULP * np.sqrt(terms) * 5 * np.sqrt(np.log2(terms)))


def test_each_derivative_is_another_of_the_two(pictures):
    x, kernel, g = pictures
    assert x.shape[1] * x.shape[2] > PIECE_PX

    def once(conv):
        return jax.jit(jax.grad(lambda x, k: jnp.sum(g * conv(x, k)), (0, 1)))(x, kernel)

    for one, other, terms in zip(once(dense_conv), once(plain_conv), (27, x[..., 0].size)):
        close(one, other, terms)

    def twice(conv):  # forwards over backwards over forwards: both transposes of both primitives
        def inner(x, k):
            return jnp.sum(jnp.square(jax.jvp(conv, (x, k), (x, k))[1]))

        return jax.jit(jax.grad(lambda x, k: sum(jnp.sum(v * v) for v in jax.grad(inner, (0, 1))(x, k)), (0, 1)))(
            x, kernel
        )

    for one, other in zip(twice(dense_conv), twice(plain_conv)):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_it_maps(axes, pictures):
    x, kernel, g = pictures
    x = x[:, None, :9, :8]
    g = g[:, None, :9, :8]
    kernel = kernel if axes[1] is None else jnp.stack([kernel, 2 * kernel])
    x, g = (a if axes[0] is not None else a[0] for a in (x, g))

    def slopes(conv):
        def one(x, k):
            out, pull = jax.vjp(lambda x, k: conv(x, k), x, k)
            return out, pull(jnp.sin(out))

        return jax.tree.leaves(jax.jit(jax.vmap(one, axes))(x, kernel))

    for one, other in zip(slopes(dense_conv), slopes(plain_conv)):
        close(one, other, 72 * 4)


def test_a_kernels_gradient_has_the_quick_form_in_a_loop_too():
    """Channels last and pictures first in each convolution of the compiled program: the form of XLA's fast routine."""
    conv, _ = both(32)
    x = jnp.ones((2, 8, 8, 32))
    params = conv.init(jax.random.key(0), x)

    def steps(params):
        slope = jax.grad(lambda p: jnp.sum(jnp.square(conv.apply(p, nn.relu(conv.apply(p, x))))))
        move = lambda p, _: (jax.tree.map(lambda a, d: a - 1e-3 * d, p, slope(p)), None)
        return lax.scan(move, params, None, length=2)[0]

    with depthwise_as("shifts"):
        compiled = jax.jit(steps).lower(params).compile().as_text()
    layouts = set(re.findall(r"dim_labels=(\S+?)[,\s]", compiled))
    assert layouts == {"b01f_01io->b01f"}
