"""What a posterior sampler asks of an observation: A, A^T, the regularised inverse, the noise; for a whole batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Observation, Operator, per_image


def isotropic_variance(sigma: Float[Array, "*#b"], deviation: float) -> Float[Array, "*#b"]:
    """`1 / (1 / sigma^2 + 1 / deviation^2)`: of each number of x given x_t, where pictures are N(m, deviation^2 I).

    Levels below 1e-6 count as 1e-6, so that one can divide by it.
    """
    return 1.0 / (jnp.maximum(sigma, 1e-6) ** -2 + deviation**-2)


@dataclass(frozen=True, eq=False)
class Measurement:
    """`y = A x + noise_std n` of a batch, each picture with its own operator; or of one picture, without batch axes.

    For N samples of one posterior, `jax.vmap` the sampler over keys alone: what depends on the operator is then
    computed once.
    """

    y: Float[Array, "..."]
    operator: Operator
    noise_std: Any  # one number, one an image, or, of noise that is not white, as many axes as y
    batch_axes: int

    @classmethod
    def of(cls, obs: Observation, who: str, white: bool = True, spectral: bool = False) -> "Measurement":
        """The measurement in `obs`, for the sampler called `who`.

        Raises:
            ValueError: there is no operator (the degradation is not linear, or unknown); with `white`, the noise
                is not of one size all over a picture; with `spectral`, the operator has no singular value decomposition
                in closed form.
        """
        if obs.operator is None:
            raise ValueError(
                f"{who} needs the linear operator of what was observed, and this observation has none: its degradation"
                " is not linear, or not known. DPS with `forward` takes any that can be differentiated."
            )
        name = type(obs.operator).__name__
        if spectral and not hasattr(obs.operator, "svd"):
            raise ValueError(
                f"{who} needs the spectrum() and the singular vectors of the operator, and {name} has no svd() in"
                " closed form. PiGDM, DDNM and DiffPIR need only its solve()."
            )
        axes = len(obs.x_shape) - len(obs.operator.in_shape)
        std = jnp.zeros((), obs.y.dtype) if obs.noise_std is None else jnp.asarray(obs.noise_std, obs.y.dtype)
        if std.ndim > axes and any(side > 1 for side in std.shape[axes:]):
            if white:
                raise ValueError(
                    f"{who} takes noise of one size all over a picture, not noise_std of shape {std.shape}: PiGDM,"
                    " DDNM, moments and DPS take any."
                )
            std = std.reshape(std.shape[:axes] + (1,) * (obs.y.ndim - std.ndim) + std.shape[axes:])
        else:
            std = std.reshape(std.shape[:axes])
        return cls(obs.y, obs.operator, std, axes)

    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """`A x`."""
        return self._each(lambda a, x: a(x), x)

    def adjoint(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """`A^T r`."""
        return self._each(lambda a, r: a.adjoint(r), r)

    def solve(self, r: Float[Array, "..."], reg: Any) -> Float[Array, "..."]:
        """`(A A^T + reg I)^-1 r`, with `reg` one number, one an image (`[*b]`), or one a number of y: `diag(reg)`."""
        reg = jnp.asarray(reg, r.dtype)
        reg = jnp.broadcast_to(reg, r.shape if reg.ndim > self.batch_axes else r.shape[: self.batch_axes])
        return self._each(lambda a, r, reg: a.solve(r, reg), r, reg)

    def relative_noise(self, variance: Float[Array, "*#b"]) -> Float[Array, "..."]:
        """`noise_std^2 / variance`, the `reg` where each number of x given x_t has this variance, one an image."""
        noise = self.noise_std**2
        return noise / per_image(variance, noise)

    def pinv(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """`A^+ r = A^T (A A^T)^-1 r`, least squares of least norm."""
        return self.adjoint(self.solve(r, 0.0))

    def svd(self) -> tuple[Float[Array, "..."], "Measurement"]:
        """`S [*b h w c]` and `V^T` of `A = U S V^T`: `A^T A x = V S^2 V^T x`; S is 0 for what A does not see.

        The second is a Measurement whose `forward` is `V^T` and whose `adjoint` is `V`. Compute it once, outside loops.
        """
        values, rotation = self._each(lambda a, y: a.svd(), self.y)  # y counts the batch where A has no arrays
        return values, replace(self, operator=rotation)

    def _each(self, function: Callable[..., Any], *arrays: Any) -> Any:
        for _ in range(self.batch_axes):
            function = jax.vmap(function)
        return function(self.operator, *arrays)
