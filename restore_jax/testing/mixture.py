"""A world that is not Gaussian and of which everything is known all the same: a mixture of Gaussian worlds.

Let x ~ sum_k w_k N(m_k, S_k). Noise and conditioning act on each component as in `testing.gaussian`, and Bayes' rule
says how likely each component has become:

    denoiser    D(x_t, sigma) = sum_k r_k D_k(x_t, sigma),   r_k = softmax_k(log w_k + log p_k(x_t; sigma))
    posterior   p(x | y) = sum_k v_k N(x; E_k[x | y], Cov_k[x | y]),   v_k = softmax_k(log w_k + log p_k(y))

so that the posterior of a mixture is a mixture: a world again, with samples, moments and a denoiser of its own,
E[x | x_t, y]. What is curved here and straight in the Gaussian world is the denoiser, and with it the probability
flow, which has no closed form; `consistency` integrates it.

Reference: Bishop 2006, "Pattern recognition and machine learning", section 9.2 and eq. 2.113-2.117.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Operator, Shape, each, per_image, split
from restore_jax.diffusion.solver import Heun
from restore_jax.testing.gaussian import GaussianWorld, Sigma


@struct.dataclass
class MixtureWorld:
    """Pictures `x ~ sum_k exp(log_weights_k) N(components_k)` and all there is to know of them, but for the flow.

    `components` is one GaussianWorld whose arrays have a first axis of k. Exact to rounding; each map costs k times
    what it costs in the Gaussian world.
    """

    log_weights: Any  # k, of sum 1 once exponentiated
    components: Any  # a GaussianWorld: k h w c, k d d, k d

    @classmethod
    def single(cls, world: GaussianWorld) -> "MixtureWorld":
        """The Gaussian world itself, as a mixture of one."""
        return cls(jnp.zeros(1, world.mean.dtype), jax.tree.map(lambda leaf: leaf[None], world))

    @classmethod
    def draw(
        cls, key: Key[Array, ""], shape: Shape, n: int = 4, spread: float = 0.1, low: float = 0.1, high: float = 0.2
    ) -> "MixtureWorld":
        """`n` components of weights 1 : 2 : ... : n, their means 1/2 + `spread` n, the rest as `GaussianWorld.draw`."""
        key_mean, key_worlds = jax.random.split(key)
        worlds = jax.vmap(lambda one: GaussianWorld.draw(one, shape, low, high))(jax.random.split(key_worlds, n))
        means = 0.5 + spread * jax.random.normal(key_mean, (n, *shape))
        weights = jnp.arange(1.0, n + 1)
        return cls(jnp.log(weights / weights.sum()), worlds.replace(mean=means))

    @property
    def weights(self) -> Float[Array, " k"]:
        """The probability of each component."""
        return jnp.exp(self.log_weights)

    @property
    def mean(self) -> Float[Array, "h w c"]:
        """`sum_k w_k m_k`."""
        return jnp.tensordot(self.weights, self.components.mean, axes=1)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """`sum_k w_k (S_k + (m_k - m)(m_k - m)^T)`."""
        off = (self.components.mean - self.mean[None]).reshape(self.log_weights.size, -1)
        within = jax.vmap(lambda one: one.covariance)(self.components)
        return jnp.tensordot(self.weights, within + off[:, :, None] * off[:, None, :], axes=1)

    def sample(self, key: Keys, n: int) -> Float[Array, "n h w c"]:
        """`n` pictures, from one key or from a key each: one of every component, of which one is kept."""

        def one(key: Key[Array, ""]) -> Float[Array, "h w c"]:
            key_which, key_picture = split(key)
            each = jax.vmap(lambda component: component.sample(key_picture, 1)[0])(self.components)
            return each[jax.random.categorical(key_which, self.log_weights)]

        return jax.vmap(one)(each(key, n))

    def denoise(self, x_t: Float[Array, "*b h w c"], sigma: Sigma) -> Float[Array, "*b h w c"]:
        """`E[x | x_t]`, a Denoiser."""
        shares = jax.nn.softmax(self._joint(x_t, sigma), axis=0)
        each = jax.vmap(lambda component: component.denoise(x_t, sigma))(self.components)
        return jnp.sum(per_image(shares, each) * each, axis=0)

    def log_density(self, x: Float[Array, "*b h w c"], sigma: Sigma) -> Float[Array, "*b"]:
        """`log p(x; sigma)`, natural, of pictures with noise of level sigma on them."""
        return jax.nn.logsumexp(self._joint(x, sigma), axis=0)

    def consistency(self, x_s: Float[Array, "*b h w c"], s: Sigma, n_steps: int = 64) -> Float[Array, "*b h w c"]:
        """The probability flow from level s > 0 to 0, a Denoiser: closed for one component, else by Heun's steps.

        The steps fall with the seventh power, as EDM's; the error falls with their number squared.
        """
        if self.log_weights.size == 1:
            return jax.tree.map(lambda leaf: leaf[0], self.components).consistency(x_s, s)
        levels = jnp.asarray(s, x_s.dtype)
        shares = jnp.linspace(1.0, 0.0, n_steps + 1, dtype=x_s.dtype) ** 7
        grid = shares.reshape(-1, *(1,) * levels.ndim) * levels[None]
        step = Heun()

        def move(x: Array, ends: tuple[Array, Array]) -> tuple[Array, None]:
            return step(jax.random.key(0), self.denoise, x, *ends), None  # Heun's step draws nothing

        return jax.lax.scan(move, x_s, (grid[:-1], grid[1:]))[0]

    def posterior(
        self, operator: Operator, y: Float[Array, "..."], noise_std: Float[Array, "..."] | float
    ) -> "MixtureWorld":
        """The world of x given `y = A x + noise_std n`; `noise_std` broadcasts against y, and may be 0.

        Speaks of one example, as operators do. With noise_std = 0 what A saw is certain: the eigenvalues are 0 there,
        and `log_density` and `denoise` want sigma > 0. The components are then weighed by their densities on the
        range of A, which is the same for all of them. Cost: two singular value decompositions a component.
        """

        def condition(component: GaussianWorld) -> tuple[GaussianWorld, Float[Array, ""]]:
            mean, covariance = component.posterior(operator, y, noise_std)
            eigenvalues, basis = jnp.linalg.eigh(covariance)
            known = GaussianWorld(mean, basis, jnp.maximum(eigenvalues, 0.0))  # rounding leaves some below 0
            return known, log_evidence(component, operator, y, noise_std)

        components, evidence = jax.vmap(condition)(self.components)
        return MixtureWorld(jax.nn.log_softmax(self.log_weights + evidence), components)

    def _joint(self, x: Float[Array, "*b h w c"], sigma: Sigma) -> Float[Array, "k *b"]:
        """`log w_k + log p_k(x; sigma)`."""
        each = jax.vmap(lambda component: component.log_density(x, sigma))(self.components)
        return per_image(self.log_weights, each) + each


def log_evidence(
    world: GaussianWorld, operator: Operator, y: Float[Array, "..."], noise_std: Float[Array, "..."] | float
) -> Float[Array, ""]:
    """`log p(y)`, natural, of `y = A x + noise_std n` with x from a Gaussian world; on the range of a singular `A`.

    With B of `testing.gaussian`, y - A m = B u for a white u: y is normal with the singular values of B as deviations
    along its left singular vectors. Those that rounding cannot tell from 0 are left out, as by `posterior`.
    """
    root = world.basis * jnp.sqrt(world.eigenvalues)[None, :]
    columns = jax.vmap(lambda column: operator(column.reshape(world.mean.shape)).ravel())(root.T)
    noise = jnp.broadcast_to(jnp.asarray(noise_std, y.dtype), y.shape).ravel()
    both = jnp.concatenate([columns.T, jnp.diag(noise)], axis=1)
    vectors, values, _ = jnp.linalg.svd(both, full_matrices=False)
    along = vectors.T @ (y - operator(world.mean)).ravel()
    varies = values > 10 * max(both.shape) * jnp.finfo(y.dtype).eps * values[0]
    deviation = jnp.where(varies, values, 1.0)
    terms = (along / deviation) ** 2 + 2 * jnp.log(deviation) + math.log(2 * math.pi)
    return -0.5 * jnp.sum(jnp.where(varies, terms, 0.0))
