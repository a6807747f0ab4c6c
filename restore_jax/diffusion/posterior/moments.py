"""Moment matching: the denoiser's own derivative says how sure it is, and of what."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Observation, per_image
from restore_jax.diffusion.posterior.measurement import Measurement


@dataclass(frozen=True)
class MomentMatching:
    """`D + C A^T (A C A^T + noise_std^2 I)^-1 (y - A D)` with `C = sigma^2 J^T`, J = dD / dx_t.

    Tweedie's second moment: the covariance of x given x_t is sigma^2 J, symmetric where the denoiser is exact, and the
    formula is E[x | x_t, y] where x given x_t is N(D, C). The inverse is found by `iterations` of conjugate gradients.
    Exact, once they have converged, for every Gaussian prior, any operator and any noise; they converge in as many
    iterations as A C A^T + noise_std^2 I has distinct eigenvalues, and a picture stops earlier where C, as a
    network's may, has a negative direction.

    Cost: a vector-Jacobian product of the denoiser (about two evaluations), A and A^T an iteration, and one more.
    Only reverse mode is used.

    Raises:
        ValueError: iterations is not above 0; when called, an observation without an operator.

    Reference: Boys et al. 2023, "Tweedie moment projected diffusions for inverse problems"; by conjugate gradients:
    Rozet et al. 2024, "Learning diffusion priors from observations by expectation maximization".
    """

    iterations: int = 5

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(
                f"MomentMatching.iterations must be a whole number >= 1, not {self.iterations}: without any, nothing"
                " guides."
            )

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        measured = Measurement.of(obs, "MomentMatching", white=False)
        noise = per_image(measured.noise_std, measured.y) ** 2

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            x_hat, pull_back = jax.vjp(lambda x: denoise(x, sigma), x_t)

            def spread(r: Array) -> Array:  # C A^T r
                (image,) = pull_back(measured.adjoint(r))
                return per_image(sigma, x_t) ** 2 * image

            def covariance(r: Array) -> Array:  # of y given x_t
                return measured.forward(spread(r)) + noise * r

            residual = measured.y - measured.forward(x_hat)
            return x_hat + spread(_solve(covariance, residual, self.iterations, measured.batch_axes))

        return guided


def _solve(apply: Callable[[Array], Array], r: Array, iterations: int, batch_axes: int) -> Array:
    """`iterations` of conjugate gradients on `apply(v) = r`, each picture by itself, from 0.

    A picture stops where its residual has fallen to rounding, or where `apply` is not positive. One system for the
    whole batch, as `jax.scipy` solves it, would make a picture's steps depend on its neighbours.
    """
    axes = tuple(range(batch_axes, r.ndim))

    def dot(a: Array, b: Array) -> Array:
        return jnp.sum(a * b, axis=axes, keepdims=True)

    first = dot(r, r)

    def go_on(state: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        v, r, direction, square = state
        image = apply(direction)
        curvature = dot(direction, image)
        going = (square > jnp.finfo(r.dtype).eps ** 2 * first) & (curvature > 0)
        step = jnp.where(going, square / jnp.where(going, curvature, 1.0), 0.0)
        v, r = v + step * direction, r - step * image
        after = dot(r, r)
        turn = jnp.where(going, after / jnp.where(going, square, 1.0), 0.0)
        return (v, r, r + turn * direction, after), None

    start = (jnp.zeros_like(r), r, r, first)
    return jax.lax.scan(go_on, start, None, length=iterations)[0][0]


_ODE = {
    "name": "diffusion.sampler.Ode",
    "step": {"name": "diffusion.solver.Euler"},
    "schedule": {"name": "diffusion.schedule.Karras", "sigma_min": 0.02, "sigma_max": 10.0},
    "n_steps": 4,
}

EXAMPLES = (
    {
        "name": "diffusion.sampler.Guided",
        "sampler": _ODE,
        "guidance": ({"name": "diffusion.posterior.moments.MomentMatching", "iterations": 3},),
    },
)
