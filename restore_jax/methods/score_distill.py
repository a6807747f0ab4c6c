"""Distribution matching: a generator of few steps, taught by the difference of two scores.

A generator G turns noise into x_hat = G(x_s). Let p(x_t; sigma) be the density of photographs with noise of level
sigma on them, and q(x_t; sigma) that of generated pictures, x_t = x_hat + sigma n. The generator descends KL(q || p):

    d KL = E[(score_q(x_t) - score_p(x_t))^T d x_hat]          score = (D - x_t) / sigma^2
         = E[(D_fake(x_t) - D_real(x_t))^T d x_hat] / sigma^2

where D_real is the denoiser of photographs, a trained teacher, and D_fake that of generated pictures, which is
learned as the generator moves: by denoising what it generates. Two players, one loss

    L = 0.5 |x_hat - stop(x_hat - w (D_fake - D_real))|^2  +  pixel metric(x_hat, x)  +  denoising(fake, stop(x_hat))

whose gradient with respect to the generator is E[w (D_fake - D_real)^T d x_hat], and with respect to the fake is
that of denoising alone. Both vanish where q = p and D_fake = D_real.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Observation, PyTree, Restorer, Sampler, TrainState, each, normal, per_image, split
from restore_jax.diffusion.sampler import Consistency, start_mean
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.methods.adopt import adopt
from restore_jax.methods.regression import Regression, lift


@dataclass(frozen=True)
class ScoreDistill:
    """DMD2: `params` are {"generator", "fake"}, `state.frozen["teacher"]` the denoiser of photographs.

    `generator` is the recipe that the teacher was trained by, but for its sampler: its network is that of all three
    players, its target and metric train the fake (`Denoise` and a squared metric make it D_fake), and its sampler,
    `Consistency(sigmas)`, is what the generator learns to be. For each image one of its levels is drawn, and the
    question at that level is the sampler's own, made by the generator as it is ("backward simulation"), so that
    training sees what restoring will. Levels of x_t come from `levels`; with `w = 1 / mean|x_hat - D_real|`, all weigh
    about the same. Photographs of this library come in pairs: `pixel` > 0 also holds x_hat to its own x.

    The gradient is exact for the fake as it is, and is that of KL only as far as D_fake has caught up: let it have more
    steps than the generator (`train.optim.Every`). Cost: one evaluation each of generator and fake with gradient; one
    each of teacher and fake, and of the generator for each level but the last, without.

    Raises:
        ValueError: the sampler is not `Consistency` with levels above 0, or `pixel` is negative.

    Reference: Yin et al. 2024, "One-step diffusion with distribution matching distillation", section 3.2; Yin et al.
    2024, "Improved distribution matching distillation for fast image synthesis" (DMD2), sections 4.2, 4.4 and 4.5.
    """

    generator: Regression
    levels: Callable[[Keys, int], Array] = LogNormal()
    pixel: float = 0.0

    def __post_init__(self) -> None:
        sampler: Any = self.generator.sampler
        if not isinstance(sampler, Consistency) or min(sampler.sigmas) <= 0:
            raise ValueError(
                "ScoreDistill.generator.sampler must be Consistency with levels above 0, the generator's own, "
                f"not {sampler}."
            )
        if self.pixel < 0:
            raise ValueError(f"ScoreDistill.pixel must be 0 or above, not {self.pixel}.")

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters of both players; `config.start`, the teacher's run, is the right start for both."""
        keys = split(key)
        return {name: self.generator.init(one, obs, x) for name, one in zip(("generator", "fake"), keys)}

    def adopt(self, params: PyTree, theirs: PyTree) -> PyTree:
        """Both players start at `theirs`, the parameters of one denoiser."""
        return {name: adopt(ours, theirs, f"{name}/") for name, ours in params.items()}

    def generate(
        self, params: PyTree, key: Keys, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """x_hat for each image, at a level drawn for it from the sampler's; `obs` must be lifted.

        The sampler runs down its levels without gradient, and each image leaves it at its own; of `x` only shape and
        precision are used.
        """
        sampler: Any = self.generator.sampler
        key_level, key_noise = split(key)
        keys = each(key_level, x.shape[0])
        last = jax.vmap(lambda one: jax.random.randint(one, (), 0, len(sampler.sigmas)))(keys)
        levels = jnp.asarray(sampler.sigmas, x.dtype)
        x_hat, x_s = start_mean(sampler.start, obs).astype(x.dtype), x
        for k, one_key in enumerate(split(key_noise, len(sampler.sigmas))):
            s = jnp.broadcast_to(levels[k], last.shape)
            question = x_hat + per_image(s, x) * normal(one_key, x.shape, x.dtype)
            x_s = jnp.where(per_image(last, x) == k, question, x_s)
            if k + 1 < len(sampler.sigmas):
                x_hat = jax.lax.stop_gradient(self.generator.evaluate(params, question, s, obs))
        return self.generator.evaluate(params, x_s, levels[last], obs)

    def direction(
        self, fake: PyTree, teacher: PyTree, key: Keys, obs: Observation, x_hat: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """`w (D_fake(x_t) - D_real(x_t))` at x_t = x_hat + sigma n: where x_hat should *not* go; a constant."""
        key_level, key_noise = split(key)
        sigma = self.levels(key_level, x_hat.shape[0]).astype(x_hat.dtype)
        x_t = x_hat + per_image(sigma, x_hat) * normal(key_noise, x_hat.shape, x_hat.dtype)
        real = self.generator.evaluate(teacher, x_t, sigma, obs)
        away = self.generator.evaluate(fake, x_t, sigma, obs) - real
        size = jnp.mean(jnp.abs(x_hat - real), axis=(-3, -2, -1), keepdims=True)
        return jax.lax.stop_gradient(away / jnp.maximum(size, 1e-6))

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Both players' losses in one; the generator's own value is half the mean square of `direction`.

        Raises:
            ValueError: there is no teacher.
        """
        if "teacher" not in state.frozen:
            raise ValueError('ScoreDistill needs state.frozen["teacher"]: set config.teacher to a trained workdir.')
        lifted = lift(obs, self.generator.scale)
        key_generate, key_direction, key_fake = split(key, 3)
        x_hat = self.generate(params["generator"], key_generate, lifted, x)
        made = jax.lax.stop_gradient(x_hat)

        away = self.direction(params["fake"], state.frozen["teacher"], key_direction, lifted, made)
        generator = 0.5 * jnp.mean((x_hat - (made - away)) ** 2)
        paired = jnp.mean(self.generator.metric(x_hat, x)) if self.pixel else jnp.zeros((), x.dtype)
        as_fake = dataclasses.replace(state, params=state.params["fake"], ema=state.ema["fake"])
        fake, _ = self.generator.loss(params["fake"], as_fake, obs, made, key_fake)
        logged = {"generator": generator, "fake": fake, **({"pixel": paired} if self.pixel else {})}
        return generator + self.pixel * paired + fake, logged

    def restorer(self, params: PyTree, sampler: Sampler | None = None) -> Restorer:
        """The generator, restoring through its own sampler or another."""
        return self.generator.restorer(params["generator"], sampler)


EXAMPLES = (
    {
        "name": "methods.score_distill.ScoreDistill",
        "generator": {
            "name": "methods.regression.Regression",
            "net": {"name": "nets.unet.UNet", "width": 8, "multipliers": (1,), "blocks": 1, "embed": 8},
            "precondition": {"name": "diffusion.precondition.Edm"},
            "target": {"name": "targets.denoise.Denoise"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (80.0, 0.5)},
        },
    },
)
