"""Measurement consistency: a restoration may not contradict what was observed."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation
from restore_jax.diffusion.posterior.measurement import Measurement
from restore_jax.infer.around import Around


@dataclass(frozen=True, eq=False)
class Consistent(Around):
    """`x_hat + A^T (A A^T + reg I)^-1 (y - A x_hat)`: of all x that explain y, the one nearest to x_hat.

    With `reg = 0` and A of full row rank, `A x = y` to the accuracy of the operator's `solve`, and the projection does
    not move what explains y already. The error can only fall, where y has no noise: the truth lies in the plane that
    is projected on. With noise that would be fitted too, take `reg = noise_std^2 / r^2`, r the deviation of x_hat's
    error.

    Raises:
        ValueError: reg is negative; when called, the observation has no operator.
    """

    reg: float = 0.0

    def __post_init__(self) -> None:
        if not self.reg >= 0:
            raise ValueError(f"Consistent.reg must be 0 or more, not {self.reg}.")

    @property
    def local(self) -> bool:
        """The operator speaks of the whole picture."""
        return False

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The restoration, made to agree."""
        measured = Measurement.of(obs, "Consistent", white=False)
        x_hat = jnp.asarray(self.restorer(key, obs))
        return x_hat + measured.adjoint(measured.solve(measured.y - measured.forward(x_hat), self.reg))
