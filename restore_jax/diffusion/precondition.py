"""Between a network, which likes unit variance, and a denoiser, which speaks of pictures.

Processes differ in the variables they write the same thing in. Let `z = x_t - m`, d = sigma_data. Each of them
feeds a network with `c_in z`, and each reads its raw output F as

    D = m + c_skip z + c_out F

so that a parametrisation is four functions of sigma, and its process is in the units of its input:

                c_in               c_skip               c_out                   c_noise             process, F
    Edm    1 / sqrt(s^2 + d^2)  d^2 / (s^2 + d^2)   s d / sqrt(s^2 + d^2)   log(s) / 4          unit variance in and out
    Eps    1 / sqrt(s^2 + d^2)  1                   -s                      log(s / d) / 4      VP; the noise n
    V      1 / sqrt(s^2 + d^2)  d^2 / (s^2 + d^2)   -s d / sqrt(s^2 + d^2)  log(s / d) / 4      VP; v = a n - b z_0
    Flow   1 / (s + d)          d / (s + d)         -s d / (s + d)          tau = s / (s + d)   straight lines; n - z_0
    Trig   1 / sqrt(s^2 + d^2)  d^2 / (s^2 + d^2)   -s d / sqrt(s^2 + d^2)  t = arctan(s / d)   TrigFlow; dx/dt

with s for sigma and z_0 = (x - m) / d. Each is two functions: `to_net` makes the network's inputs from x_t,
`to_x` makes the estimate of x from its output; `from_x` is the inverse of `to_x`.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Observation, per_image

NetInputs = tuple[Float[Array, "*b h w c"], Float[Array, "..."] | None, Float[Array, "*b h w k"] | None]
Sigma = Float[Array, "*#b"]


class Coefficients(NamedTuple):
    """The columns of the table above."""

    c_in: Float[Array, "*#b"]
    c_skip: Float[Array, "*#b"]
    c_out: Float[Array, "*#b"]


@dataclass(frozen=True)
class _Affine:
    """What the rows of the table share.

    Data are modelled as x - m of mean 0 and deviation `sigma_data`. `around = "grey"` takes the mean
    m = 1/2 of pictures in [0, 1]. `around = "image"` takes m = cond["image"], the observation on
    the grid of x: diffusion then acts on the residual, which is smaller and easier, and sampling
    starts from the observation. D = x_t at sigma = 0, the boundary that consistency models need.

    `sees` names the conditions that the network is shown beside its input, grey subtracted; where an
    observation lacks one, zeros stand for it (the "no condition" of classifier-free guidance). A prior sees none: ().
    An observation with cond["until"] makes `c_noise` two numbers: where the network is, and where it is to jump to.
    """

    sigma_data: float = 0.25
    around: Literal["grey", "image"] = "grey"
    sees: tuple[str, ...] = ("image",)

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.sigma_data <= 0:
            raise ValueError(f"{name}.sigma_data must be above 0, not {self.sigma_data}.")
        if self.around not in ("grey", "image"):
            raise ValueError(f"{name}.around is 'grey' or 'image', not {self.around!r}.")

    def coefficients(self, sigma: Sigma) -> Coefficients:
        """A row of the table, at sigma."""
        raise TypeError(f"{type(self).__name__} does not define coefficients, a row of the table.")

    def c_noise(self, sigma: Sigma) -> Sigma:
        """What the network is told of sigma, a number of order one."""
        raise TypeError(f"{type(self).__name__} does not define c_noise, the last column of the table.")

    def mean(self, obs: Observation) -> Float[Array, "..."]:
        """The `m` of the formula."""
        if self.around == "grey":
            return jnp.float32(0.5)
        if "image" not in obs.cond:
            raise ValueError(
                f'{type(self).__name__}.around = "image" needs cond["image"], the observation on the grid of x;'
                ' a model that shall also do without it is trained with around = "grey".'
            )
        return obs.cond["image"]

    def to_net(self, x_t: Float[Array, "*b h w c"], sigma: Sigma, obs: Observation) -> NetInputs:
        """`(c_in (x_t - m), c_noise, cond)`."""
        levels = [sigma, obs.cond["until"]] if "until" in obs.cond else [sigma]
        told = [jnp.broadcast_to(self.c_noise(level), x_t.shape[:-3]) for level in levels]
        told = jnp.stack(told, axis=-1) if len(told) == 2 else told[0]
        shown = [obs.cond[name] - 0.5 if name in obs.cond else jnp.zeros_like(x_t) for name in self.sees]
        cond = jnp.concatenate(shown, axis=-1) if shown else None
        return per_image(self.coefficients(sigma).c_in, x_t) * (x_t - self.mean(obs)), told, cond

    def to_x(
        self, raw: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Sigma, obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`m + c_skip (x_t - m) + c_out raw`."""
        _, c_skip, c_out = self.coefficients(sigma)
        m = self.mean(obs)
        return m + per_image(c_skip, x_t) * (x_t - m) + per_image(c_out, x_t) * raw

    def from_x(
        self, x: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Sigma, obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`(x - m - c_skip (x_t - m)) / c_out`: what the network must say for x to be the estimate; sigma > 0."""
        _, c_skip, c_out = self.coefficients(sigma)
        m = self.mean(obs)
        return (x - m - per_image(c_skip, x_t) * (x_t - m)) / per_image(c_out, x_t)


@dataclass(frozen=True)
class Edm(_Affine):
    """The preconditioning of EDM: input and output of unit variance at every level, errors magnified the least.

    Reference: Karras et al. 2022 (EDM), eq. 7 and table 1; around the image, the residual as in Yue et al. 2023
    (ResShift), eq. 1.
    """

    def coefficients(self, sigma: Sigma) -> Coefficients:
        """`1 / sqrt(sigma^2 + d^2), d^2 / (sigma^2 + d^2), sigma d / sqrt(sigma^2 + d^2)`."""
        total = sigma**2 + self.sigma_data**2
        root = jnp.sqrt(total)
        return Coefficients(1.0 / root, self.sigma_data**2 / total, sigma * self.sigma_data / root)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """`log(sigma) / 4`; at 0, where the answer is multiplied by 0, that of 1e-8."""
        return 0.25 * jnp.log(jnp.maximum(sigma, 1e-8))


@dataclass(frozen=True)
class V(_Affine):
    """Variance preserving: `z_t = a z_0 + b n`, a = d / sqrt(sigma^2 + d^2), a^2 + b^2 = 1; F is `v = a n - b z_0`.

    Reference: Salimans & Ho 2022, "Progressive distillation for fast sampling of diffusion models", section 4.
    """

    def coefficients(self, sigma: Sigma) -> Coefficients:
        """As Edm's, with c_out negative."""
        c_in, c_skip, c_out = Edm(self.sigma_data).coefficients(sigma)
        return Coefficients(c_in, c_skip, -c_out)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """`log(sigma / d) / 4`, half the logarithm of the noise-to-signal ratio over 4."""
        return 0.25 * jnp.log(jnp.maximum(sigma, 1e-8) / self.sigma_data)


@dataclass(frozen=True)
class Eps(V):
    """Variance preserving; F is the noise n. Errors are magnified by sigma: it is for low levels that it is good.

    Reference: Ho et al. 2020, "Denoising diffusion probabilistic models", eq. 11-14.
    """

    def coefficients(self, sigma: Sigma) -> Coefficients:
        """`1 / sqrt(sigma^2 + d^2), 1, -sigma`."""
        sigma = jnp.asarray(sigma)
        return Coefficients(1.0 / jnp.sqrt(sigma**2 + self.sigma_data**2), jnp.ones_like(sigma), -sigma)


@dataclass(frozen=True)
class Flow(_Affine):
    """Straight lines `z_tau = (1 - tau) z_0 + tau n` with `tau = sigma / (sigma + d)`; F is their velocity n - z_0.

    Reference: Lipman et al. 2023, "Flow matching for generative modeling", eq. 20-23; Liu et al. 2023, "Flow
    straight and fast", eq. 1.
    """

    def coefficients(self, sigma: Sigma) -> Coefficients:
        """`1 / (sigma + d), d / (sigma + d), -sigma d / (sigma + d)`."""
        total = sigma + self.sigma_data
        return Coefficients(1.0 / total, self.sigma_data / total, -sigma * self.sigma_data / total)

    def c_noise(self, sigma: Sigma) -> Sigma:
        """`tau`, from 0 to 1."""
        return sigma / (sigma + self.sigma_data)


@dataclass(frozen=True)
class Trig(V):
    """TrigFlow: `x_t = cos(t) x + sin(t) d n`, `t = arctan(sigma / d)`; `D = cos(t) x_t - sin(t) d F`. It is V, told t.

    Reference: Lu & Song 2024, "Simplifying, stabilizing and scaling continuous-time consistency models", section 3.
    """

    def c_noise(self, sigma: Sigma) -> Sigma:
        """`t`, from 0 to pi / 2."""
        return jnp.arctan(jnp.asarray(sigma) / self.sigma_data)


@dataclass(frozen=True)
class Residual:
    """`D = x_t + F(x_t - 1/2)`: a network that corrects its input and knows no noise level.

    With the sampler `Consistency(sigmas=(0.,))` this is plain regression: `x_t` is cond["image"].

    Reference: Zhang et al. 2017, "Beyond a Gaussian denoiser" (DnCNN), eq. 1.
    """

    def to_net(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation) -> NetInputs:
        """`(x_t - 1/2, None, None)`."""
        del sigma, obs
        return x_t - 0.5, None, None

    def to_x(
        self, raw: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`x_t + raw`."""
        del sigma, obs
        return x_t + raw

    def from_x(
        self, x: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`x - x_t`."""
        del sigma, obs
        return x - x_t


@dataclass(frozen=True)
class Plain:
    """`D = F(x_t, sigma)`: a network that speaks of pictures by itself and is told the noise level as it is.

    What published denoisers are trained as (FFDNet, DRUNet); those that know no level ignore it.

    Reference: Zhang et al. 2018, "FFDNet", eq. 4.
    """

    def to_net(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation) -> NetInputs:
        """`(x_t, sigma, None)`."""
        del obs
        return x_t, jnp.broadcast_to(sigma, x_t.shape[:-3]), None

    def to_x(
        self, raw: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`raw`."""
        del x_t, sigma, obs
        return raw

    def from_x(
        self, x: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`x`."""
        del x_t, sigma, obs
        return x


@dataclass(frozen=True)
class Direct(Plain):
    """`D = F(y)`: a network that is given the observation itself, at its own size, and answers x, whatever x_t is.

    What published networks of super-resolution are trained as: they enlarge inside, by `net.scale`.

    Reference: Shi et al. 2016, "Real-time single image and video super-resolution", section 3.
    """

    def to_net(self, x_t: Float[Array, "*b H W c"], sigma: Float[Array, "*#b"], obs: Observation) -> NetInputs:
        """`(y, None, None)`; x_t is larger than y where the network enlarges."""
        del x_t, sigma
        return obs.y, None, None


EXAMPLES = (
    {"name": "diffusion.precondition.Edm", "sigma_data": 0.25},
    {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
    {"name": "diffusion.precondition.V", "sigma_data": 0.25, "sees": ()},
    {"name": "diffusion.precondition.Eps", "sigma_data": 0.25},
    {"name": "diffusion.precondition.Flow", "sigma_data": 0.25},
    {"name": "diffusion.precondition.Trig", "sigma_data": 0.1, "around": "image"},
    {"name": "diffusion.precondition.Residual"},
    {"name": "diffusion.precondition.Plain"},
    {"name": "diffusion.precondition.Direct"},
)
