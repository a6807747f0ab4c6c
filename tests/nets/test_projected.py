"""A discriminator on fixed features: its formula in other words, its sizes, and what it must not touch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.efficientnet import MISSING, features, installed, pretrained
from restore_jax.nets.projected import ProjectedDiscriminator

weights = pytest.mark.skipif(not installed(), reason=MISSING)


@weights
@pytest.mark.parametrize("size", [(1, 1), (33, 20)], ids=str)
def test_a_logit_for_each_place_of_a_stage(size):
    net, x = ProjectedDiscriminator(stages=(0, 2), width=4), jnp.zeros((2, *size, 3))
    maps = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, x)[0], x)
    assert [m.shape for m in maps] == [(2, *(-(-side // step) for side in size), 1) for step in (2, 8)]


@weights
def test_the_heads_are_all_that_learns():
    params = jax.eval_shape(ProjectedDiscriminator(stages=(1, 3)).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert set(params["params"]) == {"conv1", "head1", "conv3", "head3"}


@weights
def test_it_computes_its_formula(key):
    """In NumPy, float64, with the convolution as a sum over nine shifts; float32 sums of 9 x 8 terms."""
    net = ProjectedDiscriminator(stages=(1,), width=8, spectral=False)
    x = jax.random.uniform(key, (1, 24, 20, 3), minval=-1.0)
    params = jax.jit(net.init)(key, x)["params"]
    (answer,) = jax.jit(net.apply)({"params": params}, x)
    f = np.asarray(features(pretrained(), (x + 1) / 2, 2)[1], np.float64)[0]
    u = np.sqrt(f.shape[-1]) * f / np.sqrt((f**2).sum(-1, keepdims=True) + 1e-6)
    mix = np.asarray(jax.random.normal(jax.random.key(1), (f.shape[-1], 8))) / np.sqrt(f.shape[-1])
    wide = np.pad(u @ mix, [(1, 1), (1, 1), (0, 0)])
    kernel, head = (np.asarray(params[name]["kernel"], np.float64) for name in ("conv1", "head1"))
    h, w = f.shape[:2]
    hidden = sum(wide[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))
    expected = np.where(hidden > 0, hidden, 0.2 * hidden) @ head[0, 0]
    np.testing.assert_allclose(answer[0], expected, rtol=0, atol=72 * 2**-23 * np.abs(expected).max())


@weights
def test_a_picture_does_not_know_its_neighbours_and_the_condition_matters(key):
    net = ProjectedDiscriminator(stages=(0,), width=4)
    x, cond = (jax.random.uniform(one, (2, 16, 16, 3), minval=-1.0) for one in jax.random.split(key))
    params = jax.jit(net.init)(key, x, cond)
    answer = jax.jit(net.apply)
    logits = np.asarray(answer(params, x, cond)[0])
    moved = np.asarray(answer(params, x.at[0].multiply(-1.0), cond)[0])
    np.testing.assert_array_equal(moved[1], logits[1])
    assert np.abs(moved[0] - logits[0]).max() > 1e-3
    assert np.abs(np.asarray(answer(params, x, -cond)[0]) - logits).max() > 1e-3


@pytest.mark.parametrize("stages", [(), (7,), (0, -1)], ids=str)
def test_stages_that_are_not_there(stages):
    with pytest.raises(ValueError, match=r"ProjectedDiscriminator\.stages .* name at least one"):
        ProjectedDiscriminator(stages=stages)
