"""Places by closed form, a fresh net, and one that is told no level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.dit import DiT, positions

SMALL = {"width": 8, "depth": 1, "heads": 2, "patch": 2, "mlp_ratio": 2.0}


def test_positions_are_sines_of_row_and_column():
    out = positions(3, 4, 8)
    assert out.shape == (1, 3, 4, 8)
    row, column = 2.0, 3.0  # frequencies 1 and 10000^-1/2
    angles = lambda r: [np.sin(r), np.sin(r / 100), np.cos(r), np.cos(r / 100)]
    np.testing.assert_allclose(out[0, 2, 3], angles(row) + angles(column), rtol=1e-6)
    np.testing.assert_array_equal(positions(5, 9, 8)[:, :3, :4], out)  # of any size, the same places


def test_a_fresh_net_is_zero_and_its_head_learns():
    net = DiT(**SMALL, embed=8)
    x, c_noise = jnp.ones((2, 3, 5, 3)), jnp.asarray([0.1, 0.7])
    params = jax.jit(net.init)(jax.random.key(0), x, c_noise)["params"]
    out, grads = jax.jit(jax.value_and_grad(lambda p: jnp.sum((net.apply({"params": p}, x, c_noise) - 1) ** 2)))(params)
    assert out == x.size
    assert np.abs(grads["head"]["kernel"]).max() > 0.1


def test_without_an_embedding_the_modulations_are_constants():
    net = DiT(**SMALL, embed=0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((1, 4, 4, 3)))["params"]
    assert shapes["block_0"]["modulation"]["bias"].shape == (48,)
    assert "noise" not in shapes


def test_bad_fields_are_named():
    x = jnp.ones((1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"DiT\.width is a multiple of 4 .*got 6"):
        jax.eval_shape(DiT(**{**SMALL, "width": 6}, embed=0).init, jax.random.key(0), x)
    with pytest.raises(ValueError, match="embed=8 and must be told c_noise"):
        jax.eval_shape(DiT(**SMALL, embed=8).init, jax.random.key(0), x)
