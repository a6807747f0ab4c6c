"""CM4IR: a consistency function restores in one to four evaluations, corrected by y after each."""

import itertools
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation
from restore_jax.diffusion.posterior.measurement import Measurement
from restore_jax.diffusion.sampler import noise_images
from restore_jax.ops.filter import gaussian_weights
from restore_jax.ops.resize import separable


@dataclass(frozen=True)
class Cm4ir:
    """For each level: the consistency function's answer, a back-projection on y, and noise of the next level.

        x_0 = f + A^T (A A^T + scale noise_std^2)^-1 (y - A f)             f = denoise(x_s, s)
        x_t = x_0 + t (sqrt(1 - zeta) (x_s - x_0) / s + sqrt(zeta) n)      the noise there was, and fresh noise

    The start is the same correction of grey, with noise of the first level: `A^+ y` if y is measured from grey. Where
    pixels are missing altogether they are grey in it, and no level mends that which does not drown them. `smooth_px`
    makes the start a smooth picture that agrees with y: for each width in turn, the start blurred by a Gaussian of so
    many pixels, and corrected again. Levels may then begin where the start is wrong, not where a picture ends.

    `denoise` may be any function from x_t to a picture; a consistency function needs few levels, a posterior mean
    many. The answer is the last x_0: without noise, `A x_0 = y` wherever A can. It is no sample of the posterior.

    One evaluation and one `solve` a level, and a `solve` a width; unrolled, so that it leaves in one graph.

    The start from grey, the back-projection and the mixture of old and fresh noise are the paper's; that the weights
    are sqrt(1 - zeta) and sqrt(zeta), that the old noise is taken about the corrected x_0, and that the regularisation
    is `scale noise_std^2` are choices made here. The paper's levels for the network, which differ from those of the
    noise, are left out.

    Raises:
        ValueError: levels that do not fall to one above 0, a share outside [0, 1], a negative scale or width; under an
            observation without an operator, or with noise that varies over the picture.

    Reference: Garber and Tirer 2025, "Zero-shot image restoration using few-step guidance of consistency models (and
    beyond)"; the smooth start: Gerchberg 1974, "Super-resolution through error energy reduction", and Papoulis 1975, "A
    new algorithm in spectral analysis and band-limited extrapolation", with a Gaussian in the place of the band.
    """

    sigmas: tuple[float, ...] = (4.0, 1.0, 0.25)
    zeta: float = 0.5
    scale: float = 1.0
    smooth_px: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in itertools.pairwise(self.sigmas))
        if not self.sigmas or not falling or self.sigmas[-1] <= 0:
            raise ValueError(f"Cm4ir.sigmas must fall and be above 0, not {self.sigmas}: the network goes to 0.")
        if not 0 <= self.zeta <= 1:
            raise ValueError(f"Cm4ir.zeta is a share in [0, 1], not {self.zeta}.")
        if not self.scale >= 0:
            raise ValueError(f"Cm4ir.scale must be >= 0, not {self.scale}: larger trusts y less.")
        if not all(std >= 0 for std in self.smooth_px):
            raise ValueError(f"Cm4ir.smooth_px are widths of 0 pixels or more, not {self.smooth_px}.")

    @property
    def draws(self) -> int:
        """One noise image a level, or one in all where no noise is renewed."""
        return len(self.sigmas) if self.zeta > 0 else 1

    @property
    def nfe(self) -> int:
        """One evaluation a level."""
        return len(self.sigmas)

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A restored picture for each observation."""
        measured = Measurement.of(obs, "Cm4ir")
        reg = self.scale * measured.noise_std**2

        def correct(x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
            return x + measured.adjoint(measured.solve(measured.y - measured.forward(x), reg))

        noise = noise_images(key, obs, self.draws)
        x, mixed = correct(jnp.full(obs.x_shape, 0.5, obs.y.dtype)), noise[0]
        for std in self.smooth_px:
            rows, cols = (gaussian_weights(side, std, x.dtype) for side in x.shape[-3:-1])
            x = correct(separable(x, rows, cols))
        for k, sigma in enumerate(self.sigmas):
            x_t = x + sigma * mixed
            x = correct(denoise(x_t, jnp.asarray(sigma, x.dtype)))
            mixed = (x_t - x) / sigma
            if self.zeta > 0 and k + 1 < len(self.sigmas):
                mixed = (1.0 - self.zeta) ** 0.5 * mixed + self.zeta**0.5 * noise[k + 1]
        return x


EXAMPLES = (
    {"name": "diffusion.posterior.cm4ir.Cm4ir", "sigmas": (4.0,)},
    {"name": "diffusion.posterior.cm4ir.Cm4ir", "sigmas": (4.0, 0.5), "zeta": 0.2},
    {"name": "diffusion.posterior.cm4ir.Cm4ir", "sigmas": (4.0, 0.5), "smooth_px": (1.0,)},
)
