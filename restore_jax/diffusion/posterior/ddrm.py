"""DDRM: each singular direction of the operator is denoised from whichever knows more of it, the prior or y."""

from dataclasses import dataclass, field

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, Step, normal, per_image
from restore_jax.diffusion.posterior.measurement import Measurement


@dataclass(frozen=True)
class Ddrm:
    """The move to level t in the coordinates `V^T x` of `A = U S V^T`, by what y tells of each.

    With `v = V^T D(x_s, s)`, `w = V^T A^+ y`, and u = noise_std / S, the deviation of w about the truth:

        S = 0     v + t (sqrt(1 - eta^2) (V^T x_s - v) / s + eta n)         y says nothing: as without it
        t < u     v + t (sqrt(1 - eta^2) (w - v) / u + eta n)               y is noisier than level t
        t >= u    (1 - eta_b) v + eta_b w + sqrt(t^2 - eta_b^2 u^2) n       y is cleaner than level t

    Where D answers the truth, each of them is the truth with noise of level t, over the noise of y: the marginals are
    exact, for any eta and eta_b. What D answers is E[x | x_s] and not E[x | x_s, y], so that samples are not exact.
    Without noise and with `eta_b` = 1, what A sees ends at `A^+ y`.

    One evaluation a step, one `svd` a picture. The paper starts what is seen at w with noise, here as all the rest at
    grey with noise: the first step forgets it, up to `sqrt(1 - eta^2)` of it where u exceeds the level.

    Raises:
        ValueError: a share outside [0, 1]; under an observation without an operator, with an operator without
            `svd()`, or with noise that varies over the picture.

    Reference: Kawar et al. 2022, "Denoising diffusion restoration models", section 3.
    """

    eta: float = 0.85
    eta_b: float = 1.0

    order = 1

    def __post_init__(self) -> None:
        for name in ("eta", "eta_b"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Ddrm.{name} is a share in [0, 1], not {getattr(self, name)}.")

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return n_steps

    def under(self, obs: Observation) -> Step:
        """The step that this observation asks for."""
        measured = Measurement.of(obs, "Ddrm", spectral=True)
        values, rotation = measured.svd()
        return _Under(self, values, rotation, rotation.forward(measured.pinv(measured.y)))


@dataclass(frozen=True, eq=False)
class _Under:
    settings: Ddrm
    values: Float[Array, "*b h w c"] = field(repr=False)
    rotation: Measurement = field(repr=False)
    w: Float[Array, "*b h w c"] = field(repr=False)

    def __call__(
        self, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], s: Float[Array, "*#b"], t: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """The picture at level t."""
        eta, eta_b = self.settings.eta, self.settings.eta_b
        x_hat = denoise(x, s)
        s, t = per_image(s, x), per_image(t, x)
        v = self.rotation.forward(x_hat)
        unseen = self.rotation.forward((x - x_hat) / s)  # of the difference: nothing is left to do beside the network
        seen = self.values > 0
        u = per_image(self.rotation.noise_std, x) / jnp.where(seen, self.values, 1.0)
        cleaner = seen & (t >= u)
        noisier = (self.w - v) / jnp.where(u > 0, u, 1.0)
        kept = v + t * (1.0 - eta**2) ** 0.5 * jnp.where(seen, noisier, unseen)
        mean = jnp.where(cleaner, (1.0 - eta_b) * v + eta_b * self.w, kept)
        variance = jnp.where(cleaner, t**2 - (eta_b * u) ** 2, (eta * t) ** 2)
        std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
        return self.rotation.adjoint(mean + std * normal(key, x.shape, x.dtype))


EXAMPLES = (
    {
        "name": "diffusion.sampler.Ode",
        "step": {"name": "diffusion.posterior.ddrm.Ddrm"},
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 20.0},
        "n_steps": 4,
    },
)
