"""A world in which everything is known: pictures drawn from one Gaussian.

Let x ~ N(m, U L U^T) with U orthogonal and L = diag(eigenvalues). Noise of level sigma adds sigma^2 I,
which every basis shares, so x_t = x + sigma n ~ N(m, U (L + sigma^2) U^T): in the coordinates
z = U^T (x_t - m) a picture falls apart into independent numbers, and each question that a diffusion
model answers by learning has an answer one can write down.

    denoiser          D(x_t, sigma) = E[x | x_t]:     z -> z L / (L + sigma^2)
    probability flow  dz/dsigma = (z - D) / sigma = z sigma / (L + sigma^2), which integrates to
                      x(s) -> x(t):                   z -> z sqrt((L + t^2) / (L + s^2))
    consistency       f(x_s, s) = x(0), the flow to 0: z -> z sqrt(L / (L + s^2))

The denoiser shrinks by the square of what the consistency function shrinks by: the mean of what is
possible has less variance than any sample.

An observation y = A x + noise_std n is as easy. With R = U sqrt(L), both x = m + R v and
y - A m = A R v + noise_std w are linear in one white vector u = (v, w): x = m + [R 0] u and
y - A m = B u with B = [A R, diag(noise_std)]. Given B u, the known part of u is B^+ B u and the rest
is still white, hence

    E[x | y] = m + [R 0] B^+ (y - A m)        Cov[x | y] = [R 0] (I - B^+ B) [R 0]^T

which is the textbook's S A^T (A S A^T + N)^-1 (y - A m) with S = U L U^T, N = diag(noise_std^2), but never
squares a condition number, and holds for noise_std = 0 and a singular A as well.

Reference: Karras et al. 2022 (EDM), eq. 1-4; conditioning: Bishop 2006, "Pattern recognition and
machine learning", eq. 2.113-2.117.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Operator, Shape, normal, per_image

Sigma = Float[Array, "*#b"] | float


@struct.dataclass
class GaussianWorld:
    """Pictures `x ~ N(mean, basis diag(eigenvalues) basis^T)` and all there is to know of them.

    Exact to rounding in the precision of its arrays. Each map costs two products with `basis`: O(d^2)
    a picture of d = h w c numbers; `posterior` costs O((p + d) p^2) for p numbers in y.
    """

    mean: Any  # h w c
    basis: Any  # d d, orthogonal, eigenvectors in columns
    eigenvalues: Any  # d, above 0

    @classmethod
    def draw(cls, key: Key[Array, ""], shape: Shape, low: float = 0.02, high: float = 0.5) -> "GaussianWorld":
        """A world at random: mean about 1/2, deviations from `low` to `high` in geometric steps, any directions."""
        key_mean, key_basis = jax.random.split(key)
        d = math.prod(shape)
        basis, _ = jnp.linalg.qr(jax.random.normal(key_basis, (d, d)))
        return cls(0.5 + 0.1 * jax.random.normal(key_mean, shape), basis, jnp.geomspace(low, high, d) ** 2)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """`U L U^T`."""
        return (self.basis * self.eigenvalues[None, :]) @ self.basis.T

    def sample(self, key: Keys, n: int) -> Float[Array, "n h w c"]:
        """`n` pictures, from one key or from a key each."""
        white = normal(key, (n, self.eigenvalues.size), self.mean.dtype)
        return self._picture(white * jnp.sqrt(self._variance(0.0, white)), (n, *self.mean.shape))

    def denoise(self, x_t: Float[Array, "*b h w c"], sigma: Sigma) -> Float[Array, "*b h w c"]:
        """`E[x | x_t]`, a Denoiser."""
        z = self._coordinates(x_t)
        return self._picture(z * self._variance(0.0, z) / self._variance(sigma, z), x_t.shape)

    def flow(self, x: Float[Array, "*b h w c"], s: Sigma, t: Sigma) -> Float[Array, "*b h w c"]:
        """Where the probability flow carries the `x` of level s by level t; either may be the larger."""
        z = self._coordinates(x)
        return self._picture(z * jnp.sqrt(self._variance(t, z) / self._variance(s, z)), x.shape)

    def consistency(self, x_s: Float[Array, "*b h w c"], s: Sigma) -> Float[Array, "*b h w c"]:
        """The flow to level 0, a Denoiser."""
        return self.flow(x_s, s, 0.0)

    def log_density(self, x: Float[Array, "*b h w c"], sigma: Sigma) -> Float[Array, "*b"]:
        """`log p(x; sigma)`, natural, of pictures with noise of level sigma on them."""
        z = self._coordinates(x)
        variance = self._variance(sigma, z)
        return -0.5 * jnp.sum(z**2 / variance + jnp.log(2 * jnp.pi * variance), axis=-1)

    def posterior(
        self, operator: Operator, y: Float[Array, "..."], noise_std: Float[Array, "..."] | float
    ) -> tuple[Float[Array, "h w c"], Float[Array, "d d"]]:
        """Mean and covariance of x given `y = A x + noise_std n`; `noise_std` broadcasts against y.

        Speaks of one example, as operators do; the covariance is of `x.ravel()`.
        """
        root = self.basis * jnp.sqrt(self.eigenvalues)[None, :]
        columns = jax.vmap(lambda column: operator(column.reshape(self.mean.shape)).ravel())(root.T)
        noise = jnp.broadcast_to(jnp.asarray(noise_std, y.dtype), y.shape).ravel()
        both = jnp.concatenate([columns.T, jnp.diag(noise)], axis=1)  # B
        inverse = jnp.linalg.pinv(both)[: root.shape[1]]  # the rows of B^+ that concern v
        mean = self.mean.ravel() + root @ inverse @ (y - operator(self.mean)).ravel()
        unknown = jnp.eye(root.shape[1], dtype=root.dtype) - inverse @ columns.T
        return mean.reshape(self.mean.shape), root @ unknown @ root.T

    def _coordinates(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b d"]:
        centred = x - jnp.broadcast_to(self.mean, x.shape)
        return centred.reshape(*x.shape[:-3], -1) @ self.basis

    def _picture(self, z: Float[Array, "*b d"], shape: Shape) -> Float[Array, "*b h w c"]:
        return jnp.broadcast_to(self.mean, shape) + (z @ self.basis.T).reshape(shape)

    def _variance(self, sigma: Sigma, z: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """`L + sigma^2`, a row a picture."""
        return jnp.broadcast_to(self.eigenvalues, z.shape) + per_image(sigma, z) ** 2
