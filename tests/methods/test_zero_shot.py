"""A network whose answer is known, behind operators that it never saw."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, Restorer
from restore_jax.degrade.downsample import Downsample
from restore_jax.diffusion.guidance import Threshold
from restore_jax.diffusion.precondition import Edm
from restore_jax.diffusion.sampler import Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler
from restore_jax.methods.regression import Regression
from restore_jax.methods.zero_shot import ZeroShot
from restore_jax.metrics.pixel import Mse
from restore_jax.targets.denoise import Denoise


class Grey(nn.Module):
    """The net that answers 0: with EDM's preconditioning, the denoiser of pictures N(1/2, sigma_data^2 I)."""

    factor = 1

    @nn.compact
    def __call__(self, x, c_noise, cond):
        assert x.ndim == 4
        assert cond is None
        return jnp.zeros_like(x)


class AgreesWithY:
    """A guidance in place of those of diffusion.posterior: where y is, it is repeated."""

    def __call__(self, denoise, obs):
        assert set(obs.cond) <= {"noise"}
        return lambda x_t, sigma: 0.5 * (denoise(x_t, sigma) + jnp.repeat(jnp.repeat(obs.y, 2, -3), 2, -2))


def prior(**precondition) -> Regression:
    sampler = Ode(Euler(), Karras(0.01, 10.0), 8)
    edm = Edm(**{"sees": (), **precondition})
    return Regression(Grey(), edm, Denoise(), Mse(), sampler, guidance=(AgreesWithY(), Threshold()))


def observed(key, n: int) -> Observation:
    x = jax.random.uniform(key, (n, 8, 8, 3))
    obs = jax.vmap(Downsample(scale=2, kernel="box"))(jax.random.split(key, n), x)
    return obs.with_cond(image=jnp.zeros((n, 3, 3, 3)))  # of another size: a prior must not look at it


def test_x_hat_has_the_size_that_the_operator_says_with_a_batch_and_without(key):
    obs, keys = observed(key, 2), jax.random.split(key, 2)
    restorer = ZeroShot(prior(), {}, prior().sampler)
    assert isinstance(restorer, Restorer)
    together = jax.jit(lambda keys, obs: restorer(keys, obs))(keys, obs)
    assert together.shape == (2, 8, 8, 3)
    alone = restorer(keys[1], jax.tree.map(lambda leaf: leaf[1], obs))
    np.testing.assert_allclose(alone, together[1], atol=1e-5)  # float32 sums of eight steps from level 10
    # The guided answer is (1/2 + what is left of the noise + y) / 2: y's pattern is in the result.
    repeated = np.repeat(np.repeat(obs.y, 2, 1), 2, 2)
    assert np.corrcoef(np.ravel(together), np.ravel(repeated))[0, 1] > 0.9


def test_a_network_that_sees_conditions_is_no_prior(key):
    with pytest.raises(ValueError, match="sees image"):
        ZeroShot(prior(sees=("image",)), {}, prior().sampler)(key, observed(key, 2))
