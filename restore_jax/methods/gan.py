"""A restoring GAN: near the photograph, alike in features, and taken for one.

    L = sum_k weight_k mean metric_k(x_hat, x)                               near, alike
        + rival.weight G(rival) + artifacts mean(artifact_map |x_hat - x|)   taken for a photograph, and no dirt
        + D(rival) + penalties                                               the discriminator's

with x_hat the generator's answer to y, and G and D the two sides of `methods.rival.Rival`, of which none reaches the
other's player: one gradient serves two optimisers (`train.optim.Players`).
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Metric, Observation, PyTree, Restorer, Sampler, TrainState, split
from restore_jax.methods.regression import Regression, lift
from restore_jax.methods.rival import Rival, adopt_players
from restore_jax.methods.view import View, shown
from restore_jax.metrics.pixel import Charbonnier, same_shape
from restore_jax.ops.filter import correlate_valid
from restore_jax.targets.clean import Clean


@dataclass(frozen=True)
class Term:
    """A metric, and how much it weighs in the generator's loss.

    Raises:
        ValueError: a negative weight.
    """

    metric: Metric
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"Term.weight must be 0 or above, not {self.weight}.")


def held(
    losses: tuple[Term, ...], x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """`sum_k weight_k mean metric_k(x_hat, x)`, 0 of none, and each mean under the name of its metric's class."""
    total, logged = jnp.zeros(()), {}
    for term in losses:
        mean = jnp.mean(term.metric(x_hat, x))
        total = total + term.weight * mean
        logged[type(term.metric).__name__.lower()] = mean
    return total, logged


@dataclass(frozen=True)
class Gan:
    """A generator (as `methods.regression.Regression` has it), what it is to be near to, and its rival.

    `params` are {"generator", "discriminator"}; `config.start`, a regression's run, is the right start ("the PSNR
    net"). `losses` are metrics with weights, a pixel's and a perceptual one as a rule. `artifacts` > 0 adds a penalty
    where the generator errs unevenly and more than its average does (`artifact_map`, its window a square of `window`
    pixels). Logged: the mean of each metric under its class's name, `generator`, and what `Rival.contest` logs.

    Cost of a step: one evaluation of the generator and its gradient (one more evaluation with `artifacts`), the
    metrics', and the rival's.

    Raises:
        ValueError: no losses, `artifacts` negative, or `window` not odd and above 1.

    Reference: Wang et al. 2018, "ESRGAN", eq. 3; artifacts: Liang et al. 2022, "Details or artifacts: a locally
    discriminative learning approach to realistic image super-resolution", section 3.
    """

    net: nn.Module
    precondition: Any
    rival: Rival
    sampler: Sampler
    losses: tuple[Term, ...] = (Term(Charbonnier()),)
    artifacts: float = 0.0
    window: int = 7
    scale: int = 1
    view: View | None = None

    def __post_init__(self) -> None:
        if not self.losses:
            raise ValueError("Gan.losses must name at least one metric, not (): without, nothing ties x_hat to x.")
        if self.artifacts < 0:
            raise ValueError(f"Gan.artifacts must be 0 or above, not {self.artifacts}.")
        if self.window < 3 or self.window % 2 == 0:
            raise ValueError(f"Gan.window must be an odd number from 3, not {self.window}.")

    @property
    def generator(self) -> Regression:
        """The generator as a regression on its first metric: what it starts from, and what restores."""
        first = self.losses[0].metric
        return Regression(self.net, self.precondition, Clean(), first, self.sampler, self.scale)

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters of both players."""
        key_generator, key_discriminator = split(key)
        judge = self.rival.init(key_discriminator, lift(obs, self.scale), x)
        return {"generator": self.generator.init(key_generator, obs, x), "discriminator": judge}

    def adopt(self, params: PyTree, theirs: PyTree) -> PyTree:
        """The generator starts at `theirs`, a regression's parameters; or both players at another GAN's."""
        return adopt_players(params, theirs)

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Both players' losses in one."""
        obs = lift(obs, self.scale)
        question = (obs.cond["image"], jnp.zeros(x.shape[0]), obs)
        x_hat = self.generator.evaluate(params["generator"], *question)
        key_view, key_rival = split(key)
        seen_hat, seen, seen_obs = shown(self.view, key_view, x_hat, x, obs)
        contest = self.rival.contest(params["discriminator"], seen, seen_hat, seen_obs, key_rival)
        near, logged = held(self.losses, seen_hat, seen)
        generator = near + contest.generator
        if self.artifacts:
            average = jax.lax.stop_gradient(self.generator.evaluate(state.ema["generator"], *question))
            where = artifact_map(x_hat, average, x, self.window)
            logged["artifacts"] = jnp.mean(where * jnp.abs(x_hat - x))
            generator = generator + self.artifacts * logged["artifacts"]
        return generator + contest.discriminator, {"generator": generator, **logged, **contest.logged}

    def restorer(self, params: PyTree, sampler: Sampler | None = None) -> Restorer:
        """The generator, restoring through its own sampler or another."""
        return self.generator.restorer(params["generator"], sampler)


def artifact_map(
    x_hat: Float[Array, "*b h w c"], average: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], window: int = 7
) -> Float[Array, "*b h w 1"]:
    """Where x_hat looks like dirt rather than detail, from 0 up; a constant to gradients.

        r = sum over channels of |x - x_hat|,    r_average the same of the average's answer
        map = var(r, all pixels)^(1/5) var(r, window x window around)    where r >= r_average,    0 elsewhere

    Errors of one sign or one size weigh little, those that flicker from pixel to pixel much, and none where the
    average of the generator errs more: there x_hat is on its way to the better. Variances are those of samples
    (divided by n - 1); the picture is continued by its mirror image.

    Reference: Liang et al. 2022, as above, eq. 2-5.
    """
    same_shape(x_hat, x)
    same_shape(average, x)
    r, r_average = (jax.lax.stop_gradient(jnp.sum(jnp.abs(x - one), -1, keepdims=True)) for one in (x_hat, average))
    whole = jnp.var(r, axis=(-3, -2, -1), keepdims=True, ddof=1) ** 0.2
    reach, n = window // 2, window**2
    mirrored = jnp.pad(r, [(0, 0)] * (r.ndim - 3) + [(reach, reach), (reach, reach), (0, 0)], mode="symmetric")
    mirrored = mirrored - jnp.mean(r, axis=(-3, -2, -1), keepdims=True)  # keeps float32's digits
    taps = (1.0 / window,) * window
    local = correlate_valid(mirrored**2, taps) - correlate_valid(mirrored, taps) ** 2
    return jnp.where(r >= r_average, whole * jnp.maximum(local, 0.0) * (n / (n - 1)), 0.0)


EXAMPLES = (
    {
        "name": "methods.gan.Gan",
        "net": {"name": "nets.unet.UNet", "width": 8, "multipliers": (1,), "blocks": 1, "embed": 0},
        "precondition": {"name": "diffusion.precondition.Residual"},
        "rival": {
            "name": "methods.rival.Rival",
            "discriminator": {"name": "nets.discriminator.UNetDiscriminator", "width": 8, "levels": 1},
            "rivalry": {"name": "methods.rivalry.Relativistic"},
        },
        "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
        "losses": ({"name": "methods.gan.Term", "metric": {"name": "metrics.pixel.Charbonnier"}, "weight": 0.5},),
        "artifacts": 1.0,
    },
)
