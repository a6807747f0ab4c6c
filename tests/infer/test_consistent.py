"""The projection explains what was observed, moves nothing that does, and brings the truth nearer."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.downsample import Downsample
from restore_jax.infer.consistent import Consistent

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Fixed:
    """Answers what it was made with."""

    answer: jax.Array
    scale = 1
    draws = 0

    def __call__(self, key, obs):
        return self.answer


def harmed():
    """Two pictures at half their size, and an answer that is a tenth off."""
    x = jax.random.uniform(KEY, (2, 16, 12, 3))
    obs = jax.vmap(Downsample(2))(jax.random.split(KEY, 2), x)
    return x, obs, x + 0.1 * jax.random.normal(jax.random.key(1), x.shape)


def test_the_projection_explains_the_observation():
    x, obs, x_hat = harmed()
    project = lambda z: Consistent(Fixed(z))(KEY, obs)
    fixed = project(x_hat)
    forward = jax.vmap(lambda a, z: a(z))
    residual = jnp.abs(forward(obs.operator, fixed) - obs.y).max()
    assert residual < 1e-4 < jnp.abs(forward(obs.operator, x_hat) - obs.y).max()  # A A^T is well conditioned: 1e-4
    np.testing.assert_allclose(project(fixed), fixed, atol=1e-4)
    # A quarter of the directions is corrected: the squared error falls by a quarter of itself, by chance a tenth less.
    before, after = jnp.mean((x_hat - x) ** 2), jnp.mean((fixed - x) ** 2)
    assert 0.65 < after / before < 0.85


def test_noise_is_not_fitted_wholly():
    """With reg the residual that is left grows with it, from none to the restorer's own."""
    _, obs, x_hat = harmed()
    off = lambda z: float(jnp.abs(jax.vmap(lambda a, z: a(z))(obs.operator, z) - obs.y).max())
    offs = [off(Consistent(Fixed(x_hat), reg)(KEY, obs)) for reg in (0.0, 0.1, 1.0, 1e6)]
    assert offs == sorted(offs)
    assert abs(offs[-1] - off(x_hat)) < 1e-5


def test_errors():
    with pytest.raises(ValueError, match=r"Consistent\.reg must be 0 or more, not -1"):
        Consistent(Fixed(jnp.zeros(())), -1.0)
    with pytest.raises(ValueError, match="Consistent needs the linear operator"):
        Consistent(Fixed(jnp.zeros(())))(KEY, Observation(y=jnp.zeros((1, 4, 4, 3))))
    assert not Consistent(Fixed(jnp.zeros(()))).local
