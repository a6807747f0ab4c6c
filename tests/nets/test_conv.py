"""Convolutions filled up to whole lanes: nn.Conv, value and derivatives, whatever the channels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.conv import Conv, filled
from restore_jax.nets.layers import depthwise_as

ULP = np.finfo(np.float32).eps


def test_whole_lanes():
    assert [filled(n) for n in (1, 3, 16, 17, 32, 46, 48, 50)] == [1, 3, 16, 32, 32, 48, 48, 64]


def both(features, **fields):
    return Conv(features, (3, 3), **fields), nn.Conv(features, (3, 3), **fields)


@pytest.mark.parametrize(("c", "d"), [(3, 20), (18, 34)])
@pytest.mark.parametrize("fields", [{}, {"strides": 2, "padding": "VALID"}], ids=str)
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
        return [e.invars[1].aval.shape for e in jaxpr.eqns if e.primitive.name == "conv_general_dilated"]

    with depthwise_as("shifts"):
        assert kernels() == [(3, 3, 32, 32)]
    with depthwise_as("conv"):
        assert kernels() == [(3, 3, 18, 20)]


def test_groups_stay_as_they_are():
    x = jax.random.normal(jax.random.key(0), (1, 5, 5, 36))
    ours, plain = both(36, feature_group_count=2)
    params = plain.init(jax.random.key(1), x)
    np.testing.assert_array_equal(ours.apply(params, x), plain.apply(params, x))
