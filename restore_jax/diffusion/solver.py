"""One move along the noise axis, `step(key, denoise, x, s, t)`: from level s to level t < s.

All solve the probability flow `dx/dsigma = (x - D(x, sigma)) / sigma`, or a stochastic equation with the same
marginals. In `u = log(s / sigma)`, which runs from 0 to `h = log(s / t)`, the flow is exactly

    x_t = (t / s) x + integral from 0 to h of exp(u - h) D(u) du

and solvers differ in what they put for D(u): one value of it, or a polynomial through several. A solver receives the
function and not its output, so that it evaluates where it likes. Levels are one number, or one an image. A step to
0 answers D itself.

    ONE_STEP    Euler, Heun, Dpm2S            deterministic
    MULTISTEP   Dpm2M, UniPc                  deterministic, `core.Multistep`: one evaluation a step at order 2 or 3
    STOCHASTIC  Ancestral, SdeDpm2M, Churn    order: that of the mean and the variance of what they sample
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Multistep, normal, per_image, split

Level = Float[Array, "*#b"]
Picture = Float[Array, "*b h w c"]


def slope(denoise: Denoiser, x: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
    """`dx/dsigma = (x - D(x, sigma)) / sigma`, for sigma > 0.

    Reference: Karras et al. 2022 (EDM), algorithm 1, line 4.
    """
    return (x - denoise(x, sigma)) / per_image(sigma, x)


def jump(answer: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], s: Level, t: Level) -> Float[Array, "*b h w c"]:
    """`(t / s) x + (1 - t / s) answer`: where the straight line from x at level s to the answer at 0 passes level t."""
    ratio = per_image(t / s, x)
    return ratio * x + (1.0 - ratio) * answer


def answer(x_t: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], s: Level, t: Level) -> Float[Array, "*b h w c"]:
    """The inverse, `jump(answer, x, s, t) = x_t`: what a denoiser must answer for Euler's step to reach x_t; t < s."""
    ratio = per_image(t / s, x)
    return (x_t - ratio * x) / (1.0 - ratio)


@dataclass(frozen=True)
class Euler:
    """`x + (t - s) slope(x, s)`: order 1, one evaluation; a step to 0 gives D(x, s) itself.

    It is DDIM, and DPM-Solver-1: `x + (t - s) slope = jump(D, x, s, t)`, the exact solution where D is constant.

    Reference: Song et al. 2021, "Denoising diffusion implicit models", eq. 13 (with x / sqrt(alpha) for x).
    """

    order = 1

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return n_steps

    def __call__(self, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> Picture:
        """The picture at level t."""
        del key
        return x + per_image(t - s, x) * slope(denoise, x, s)


@dataclass(frozen=True)
class Heun:
    """Euler's step, then again with the mean of the slopes at both ends: order 2, two evaluations.

    A step to 0 stays Euler's, for the slope has no value there.

    Reference: Karras et al. 2022 (EDM), algorithm 1.
    """

    order = 2

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return 2 * n_steps - 1

    def __call__(self, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> Picture:
        """The picture at level t."""
        del key
        first = slope(denoise, x, s)
        euler = x + per_image(t - s, x) * first

        def corrected() -> Picture:
            second = slope(denoise, euler, jnp.maximum(t, 1e-12))
            return x + per_image(t - s, x) * 0.5 * (first + second)

        return _unless_last(t, corrected, euler)


@dataclass(frozen=True)
class Dpm2S:
    """DPM-Solver++(2S), the exponential midpoint: `jump(D(x_m, m), x, s, t)` with `x_m = jump(D(x, s), x, s, m)`.

    m = sqrt(s t) is the middle in log-SNR. Order 2, two evaluations; a step to 0 is Euler's, for it has no middle.

    Reference: Lu et al. 2022, "DPM-Solver++", algorithm 1 with r = 1/2.
    """

    order = 2

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return 2 * n_steps - 1

    def __call__(self, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> Picture:
        """The picture at level t."""
        del key
        first = denoise(x, s)
        middle = jnp.sqrt(s * _above_zero(t, s))

        def corrected() -> Picture:
            return jump(denoise(jump(first, x, s, middle), middle), x, s, t)

        return _unless_last(t, corrected, jump(first, x, s, t))


def _unless_last(t: Level, corrected: Any, first: Picture) -> Picture:
    """`corrected()`, which costs an evaluation, where t > 0, and `first` at 0."""
    if jnp.ndim(t) == 0:
        return jax.lax.cond(t > 0, corrected, lambda: first)
    return jnp.where(per_image(t, first) > 0, corrected(), first)


def _above_zero(t: Level, s: Level) -> Level:
    """t, but where it is 0 the s / 2 that stands for it in a branch not taken: finite, and so is its derivative."""
    return jnp.where(t > 0, t, 0.5 * s)


# ---------------------------------------------------------------------------------------------
# With memory
# ---------------------------------------------------------------------------------------------


class _Remembering:
    """What multistep solvers share: one evaluation a step, and a first move with nothing to remember."""

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return n_steps

    def blank(self, x: Picture) -> Any:
        """Nothing was seen yet."""
        return _Seen(jnp.zeros_like(x), _never(x))

    def move(self, memory: Any, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> tuple[Picture, Any]:
        """The picture at level t, and what to remember of it."""
        raise TypeError(f"{type(self).__name__} does not define move, the one method that a multistep solver must.")

    def __call__(self, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> Picture:
        """The picture at level t, without memory."""
        return self.move(self.blank(x), key, denoise, x, s, t)[0]


class _Seen(NamedTuple):
    """What the denoiser said, and log(sigma) of where: infinite if it has not said anything."""

    answer: Picture
    log_sigma: Float[Array, "*b 1 1 1"]


def _never(x: Picture) -> Float[Array, "*b 1 1 1"]:
    return jnp.full((*x.shape[:-3], 1, 1, 1), jnp.inf, x.dtype)


def _log(sigma: Level, x: Picture) -> Float[Array, "*b 1 1 1"]:
    """log(sigma), one number a picture whether sigma is that or one for all: memory has one shape."""
    return jnp.broadcast_to(jnp.log(per_image(sigma, x)), (*x.shape[:-3], 1, 1, 1))


def _trend(new: _Seen, old: _Seen) -> Picture:
    """`dD/du` between the two, u = -log(sigma); nothing where one of them was never seen, for then u is infinite."""
    return (new.answer - old.answer) / (old.log_sigma - new.log_sigma)


@dataclass(frozen=True)
class Dpm2M(_Remembering):
    """DPM-Solver++(2M): Euler's step with D carried half a step further along its last change. Order 2, one evaluation.

        x_t = jump(D + h / 2 * (D - D_before) / h_before, x, s, t),     h = log(s / t)

    The first step and a step to 0 are Euler's.

    Reference: Lu et al. 2022, "DPM-Solver++", algorithm 2.
    """

    order = 2

    def move(self, memory: Any, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> tuple[Picture, Any]:
        """The picture at level t, and what to remember of it."""
        del key
        now = _Seen(denoise(x, s), _log(s, x))
        return jump(_half_a_step_on(now, memory, s, t), x, s, t), now


def _half_a_step_on(now: _Seen, before: _Seen, s: Level, t: Level) -> Picture:
    h = jnp.where(t > 0, jnp.log(s / _above_zero(t, s)), 0.0)
    return now.answer + 0.5 * per_image(h, now.answer) * _trend(now, before)


class _Corrected(NamedTuple):
    """UniPC's memory: the corrected picture of the level before, what D said there and at the one before that."""

    x: Picture
    last: _Seen
    older: _Seen


@dataclass(frozen=True)
class UniPc(_Remembering):
    """UniPC-2: predict by a line through two answers, correct by a parabola through three. Order 3, one evaluation.

    The answer at the predicted picture serves twice: to correct that picture, one move later, and to predict on from
    it. With u = log(s / sigma), the integrals of exp(u - h) against 1, u and u (u - h) are exact,

        1 - r,     i_1 = h - (1 - r),     i_2 = h^2 - 2 i_1 - h i_1,          r = t / s = exp(-h)

    so that the B(h) of the paper drops out. The first steps have the lower orders that they can have, and the last
    picture is the predicted one, or D itself at 0: that one step errs by h^3, as all the others together.

    Reference: Zhao et al. 2023, "UniPC: a unified predictor-corrector framework", algorithms 1 and 2, eq. 3-5, p = 2.
    """

    order = 3

    def blank(self, x: Picture) -> Any:
        """Nothing was seen yet."""
        return _Corrected(jnp.zeros_like(x), super().blank(x), super().blank(x))

    def move(self, memory: Any, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> tuple[Picture, Any]:
        """The picture at level t, and what to remember of it."""
        del key
        now = _Seen(denoise(x, s), _log(s, x))
        known = jnp.isfinite(memory.last.log_sigma)
        # Where there is nothing to correct, any last level keeps the branch not taken finite.
        last = memory.last._replace(log_sigma=jnp.where(known, memory.last.log_sigma, now.log_sigma + 1))
        x = jnp.where(known, self._correct(memory.x, now, last, memory.older), x)

        h = _log(s, x) - _log(_above_zero(t, s), x)
        bend = jnp.where(per_image(t, x) > 0, h + jnp.expm1(-h), 0.0)
        return jump(now.answer, x, s, t) + bend * _trend(now, memory.last), _Corrected(x, now, memory.last)

    def _correct(self, x: Picture, now: _Seen, last: _Seen, older: _Seen) -> Picture:
        """The step from the level before to this one again, now that D was asked here too."""
        h = last.log_sigma - now.log_sigma
        rest = -jnp.expm1(-h)
        first = h - rest
        second = h**2 - 2 * first - h * first
        line, line_before = _trend(now, last), _trend(last, older)
        parabola = (line - line_before) / (older.log_sigma - now.log_sigma)
        return (1 - rest) * x + rest * last.answer + first * line + second * parabola


# ---------------------------------------------------------------------------------------------
# With fresh noise
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ancestral:
    """Euler's step below t, and fresh noise back up to it: `jump(D, x, s, down) + up n`, `down^2 + up^2 = t^2`.

        up = eta t sqrt(1 - t^2 / s^2)

    is DDIM's sigma: eta = 0 is Euler, eta = 1 draws from DDPM's posterior of x_t given x_s and x = D, "ancestral
    sampling". Order 1 in the mean and the variance, one evaluation.

    Reference: Song et al. 2021, "Denoising diffusion implicit models", eq. 12 and 16; Ho et al. 2020, "Denoising
    diffusion probabilistic models", eq. 6-7.
    """

    eta: float = 1.0

    order = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"Ancestral.eta must lie between 0 (Euler) and 1 (DDPM), not {self.eta}.")

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return n_steps

    def __call__(self, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> Picture:
        """The picture at level t."""
        ratio = t / s
        kept = (1 - self.eta**2) + (self.eta * ratio) ** 2
        down = t * jnp.sqrt(jnp.where(t > 0, kept, 1.0))  # the root's own derivative is infinite at 0
        up = self.eta * t * jnp.sqrt(1 - ratio**2)
        return jump(denoise(x, s), x, s, down) + per_image(up, x) * normal(key, x.shape, x.dtype)


@dataclass(frozen=True)
class SdeDpm2M(_Remembering):
    """SDE-DPM-Solver++(2M): Dpm2M's answer in DDPM's stochastic equation. Order 2 in mean and variance, one evaluation.

        x_t = r^2 x + (1 - r^2) (D + h / 2 * (D - D_before) / h_before) + t sqrt(1 - r^2) n,       r = t / s

    which `Ancestral(1)` is without the correction. A step to 0 answers D.

    Reference: Lu et al. 2022, "DPM-Solver++", appendix: SDE-DPM-Solver++(2M).
    """

    order = 2

    def move(self, memory: Any, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> tuple[Picture, Any]:
        """The picture at level t, and what to remember of it."""
        now = _Seen(denoise(x, s), _log(s, x))
        below = t * (t / s)
        x_t = jump(_half_a_step_on(now, memory, s, t), x, s, below)
        up = t * jnp.sqrt(1 - (t / s) ** 2)
        return x_t + per_image(up, x) * normal(key, x.shape, x.dtype), now


@dataclass(frozen=True)
class Churn:
    """Noise up to `(1 + gamma) s` first, then `step` down to t: what a step got wrong is drawn anew.

    `gamma = min(s_churn / n_steps, sqrt(2) - 1)` for s within [s_min, s_max] and 0 outside; n_steps is the
    sampler's. With s_noise = 1 the noise added is what the level says, so the order is that of `step`; a little more
    makes up for a denoiser that removes too much. `step` must be of one step: what another remembers is gone.

    Reference: Karras et al. 2022 (EDM), algorithm 2.
    """

    step: Any = Heun()
    s_churn: float = 40.0
    s_min: float = 0.05
    s_max: float = 50.0
    s_noise: float = 1.0
    n_steps: int = 18

    def __post_init__(self) -> None:
        if isinstance(self.step, Multistep):
            raise ValueError(f"Churn.step must be a one-step solver, as Euler or Heun, not {self.step}.")
        if not (self.s_churn >= 0 and self.s_noise >= 0 and self.n_steps >= 1):
            raise ValueError(
                "Churn wants s_churn and s_noise of 0 or more and n_steps of 1 or more, not "
                f"{self.s_churn}, {self.s_noise} and {self.n_steps}."
            )
        if not 0 <= self.s_min <= self.s_max:
            raise ValueError(f"Churn wants 0 <= s_min <= s_max, not {self.s_min} and {self.s_max}.")

    @property
    def order(self) -> int:
        """That of `step`."""
        return self.step.order

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0: those of `step`."""
        return self.step.nfe(n_steps)

    def __call__(self, key: Keys, denoise: Denoiser, x: Picture, s: Level, t: Level) -> Picture:
        """The picture at level t."""
        key_noise, key_step = split(key)
        gamma = min(self.s_churn / self.n_steps, 2**0.5 - 1)
        within = (s >= self.s_min) & (s <= self.s_max)
        up = jnp.where(within, (gamma * (2 + gamma)) ** 0.5 * s, 0.0)  # sqrt((1 + gamma)^2 - 1) s
        x = x + self.s_noise * per_image(up, x) * normal(key_noise, x.shape, x.dtype)
        return self.step(key_step, denoise, x, jnp.where(within, (1 + gamma) * s, s), t)


ONE_STEP = (
    {"name": "diffusion.solver.Euler"},
    {"name": "diffusion.solver.Heun"},
    {"name": "diffusion.solver.Dpm2S"},
)
MULTISTEP = ({"name": "diffusion.solver.Dpm2M"}, {"name": "diffusion.solver.UniPc"})
STOCHASTIC = (
    {"name": "diffusion.solver.Ancestral", "eta": 0.5},
    {"name": "diffusion.solver.Ancestral"},
    {"name": "diffusion.solver.SdeDpm2M"},
    {"name": "diffusion.solver.Churn", "step": {"name": "diffusion.solver.Heun"}},
)
EXAMPLES = (*ONE_STEP, *MULTISTEP, *STOCHASTIC)
