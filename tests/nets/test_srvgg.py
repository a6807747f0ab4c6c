"""SRVGG: with a silent last layer it repeats pixels; PReLU; a wrong scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.srvgg import SRVGG, PReLU


def test_a_silent_net_repeats_each_pixel(key):
    net, x = SRVGG(4, 1, 3), jax.random.uniform(key, (2, 2, 3, 3))
    shapes = jax.eval_shape(net.init, key, x)
    out = net.apply(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes), x)
    np.testing.assert_array_equal(out, np.asarray(x).repeat(3, 1).repeat(3, 2))


def test_prelu_is_a_slope_a_channel_below_zero():
    x = jnp.asarray([[-2.0, -2.0], [3.0, 0.0]]).reshape(1, 1, 2, 2)
    out = PReLU().apply({"params": {"slope": jnp.asarray([0.5, -1.0])}}, x)
    np.testing.assert_array_equal(out.reshape(2, 2), [[-1.0, 2.0], [3.0, 0.0]])


def test_scale_zero_is_refused(key):
    with pytest.raises(ValueError, match=r"SRVGG.scale must be 1 or more, got 0"):
        SRVGG(4, 1, 0).init(key, jnp.zeros((1, 2, 2, 3)))
