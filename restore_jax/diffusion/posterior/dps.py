"""Diffusion posterior sampling: after each step, downhill on the distance between y and what the estimate explains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Multistep, Observation, per_image
from restore_jax.diffusion.posterior.measurement import Measurement
from restore_jax.diffusion.solver import Euler

Level = Float[Array, "*#b"]


@dataclass(frozen=True)
class Dps:
    """`step(x) - scale a(s) a(t) grad |y - A D(x, s)|` with `a(sigma) = sqrt(1 + sigma^2 / sigma_data^2)`.

    The paper's move is `z' - (zeta / |r|) grad_z |r|^2 = z' - 2 zeta grad_z |r|`, in the variables of a
    variance-preserving process: z = (x_t - 1/2) / (d a(sigma)), d = sigma_data, and r in units of d as well. There the
    gradient is d a(s) times the one by x_t, and x' is d a(t) times z', which makes `2 d zeta a(s) a(t)` of the factor.
    Without a(s) a(t) nothing would happen at high levels, where dD / dx_t falls as 1 / sigma^2. For pictures in
    [-1, 1], the paper's, d is 1/2 here, and `scale` is its zeta.

    Exact for no prior: normalised by |r|, the gradient is no likelihood's, noise_std is not used, and how far all
    steps together pull towards y grows with their number, so that `scale` is to be found for each n_steps. It has no
    order. In return `forward` may be any differentiable function from one picture `h w c` to y, for a degradation
    that is not linear; None takes the operator.

    `step` is the move without guidance (the paper's is ancestral). What it asks of the denoiser at (x, s) is evaluated
    once for both. Cost: one vector-Jacobian product of the denoiser (about two evaluations) and of A a step.

    Raises:
        ValueError: scale is negative, sigma_data not above 0, or the step one with memory; when called, an observation
            without an operator and no `forward`.

    Reference: Chung et al. 2023, "Diffusion posterior sampling for general noisy inverse problems", algorithm 1.
    """

    scale: float = 1.0
    sigma_data: float = 0.5
    step: Any = Euler()
    forward: Any = None

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise ValueError(f"Dps.scale must be 0 or more, not {self.scale}: below 0 it would lead away from y.")
        if not self.sigma_data > 0:
            raise ValueError(f"Dps.sigma_data must be above 0, not {self.sigma_data}: 0.5 is the paper's.")
        if isinstance(self.step, Multistep):
            raise ValueError(
                f"Dps.step must be a step without memory, not {self.step}: what it remembers would not know of the"
                " guidance between two steps. Take Euler or Heun."
            )

    def nfe(self, n_steps: int) -> int:
        """Those of the step; the derivative comes on top."""
        return self.step.nfe(n_steps)

    def under(self, obs: Observation) -> "Guiding":
        """The step that is guided by `obs`."""
        if self.forward is None:
            Measurement.of(obs, "Dps", white=False)
        return Guiding(self, obs)


@dataclass(frozen=True, eq=False)
class Guiding:
    """`Dps` under one observation: a Step."""

    dps: Dps
    obs: Observation

    def __call__(
        self, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], s: Level, t: Level
    ) -> Float[Array, "*b h w c"]:
        """The picture at level t."""
        explain, batch_axes = self._explain(x)
        x_hat, through_denoiser = jax.vjp(lambda x: denoise(x, s), x)
        explained, through_forward = jax.vjp(explain, x_hat)
        residual = self.obs.y - explained
        length = jnp.sqrt(jnp.sum(residual**2, axis=tuple(range(batch_axes, residual.ndim)), keepdims=True))
        # Where y is explained, the distance has no gradient, and none is needed.
        (uphill,) = through_denoiser(*through_forward(-residual / jnp.maximum(length, jnp.finfo(x.dtype).tiny)))

        def known(x_asked: Array, sigma: Array) -> Array:
            return x_hat if x_asked is x and sigma is s else denoise(x_asked, sigma)

        d = self.dps.sigma_data
        factor = self.dps.scale * jnp.sqrt((1.0 + (s / d) ** 2) * (1.0 + (t / d) ** 2))
        return self.dps.step(key, known, x, s, t) - per_image(factor, x) * uphill

    def _explain(self, x: Array) -> tuple[Callable[[Array], Array], int]:
        """What a picture leads one to observe, for the whole batch; and the number of batch axes."""
        if self.dps.forward is None:
            measured = Measurement.of(self.obs, "Dps", white=False)
            return measured.forward, measured.batch_axes
        explain, batch_axes = self.dps.forward, x.ndim - 3
        for _ in range(batch_axes):
            explain = jax.vmap(explain)
        return explain, batch_axes

    def __str__(self) -> str:
        return str(self.dps)  # what was observed has no place in a message


EXAMPLES = (
    {
        "name": "diffusion.sampler.Ode",
        "step": {"name": "diffusion.posterior.dps.Dps", "scale": 0.3},
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_min": 0.02, "sigma_max": 10.0},
        "n_steps": 4,
    },
)
