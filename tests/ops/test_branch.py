"""One by one: the same numbers and gradients, and only the branch that is taken."""

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.ops.branch import one_by_one

KEYS = jax.random.split(jax.random.key(0), 3)
X = jnp.arange(6.0).reshape(3, 2) / 4
WHICH = jnp.array([0.0, 1.0, 0.0])


def branches(key, x, which):
    x = x + jax.random.uniform(key, x.shape)
    return jax.lax.switch(which.astype(int), [jnp.sin, lambda x: x**3], x)


def test_values_and_gradients_are_those_of_vmap():
    looped = one_by_one(branches)
    for f in (
        lambda g: jax.vmap(g)(KEYS, X, WHICH),
        lambda g: jax.grad(lambda x: jax.vmap(g)(KEYS, x, WHICH).sum())(X),
        lambda g: jax.vmap(jax.grad(lambda x, k, w: g(k, x, w).sum()))(X, KEYS, WHICH),
        lambda g: g(KEYS[0], X[0], WHICH[0]),
    ):
        np.testing.assert_allclose(f(looped), f(branches), rtol=1e-6)  # the same operations, another order of fusing


def test_a_batch_is_a_loop_with_real_branches():
    graph = jax.jit(jax.vmap(one_by_one(branches))).lower(KEYS, X, WHICH).as_text()
    assert "stablehlo.while" in graph
    assert "stablehlo.case" in graph
    assert "stablehlo.case" not in jax.jit(jax.vmap(branches)).lower(KEYS, X, WHICH).as_text()
