"""A second opinion: any target, and a discriminator that x_hat must pass for a photograph.

    L = mean(weight metric(x_hat, target)) - weight_d J(stop(disc), x_hat)                        the generator's
        + relu(1 - J(disc, x)) + relu(1 + J(disc, stop(x_hat))) + r1 / 2 |dJ(disc, x) / dx|^2     the discriminator's

with x_hat the generator's answer to its target's question and J the mean over an image of the discriminator's logits.
No gradient of either line reaches the other's player, so one gradient serves two optimisers (`train.optim.Players`).
"""

import dataclasses
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Observation, PyTree, Restorer, Sampler, TrainState, split
from restore_jax.methods.adopt import adopt
from restore_jax.methods.regression import Regression, lift


@dataclass(frozen=True)
class AdversarialConsistency:
    """`generator`'s regression, and the hinge loss of a discriminator; `params` are {"generator", "discriminator"}.

    Whatever the target asks and holds up (consistency, a clean photograph), x_hat answers; `weight` is that of the
    discriminator's opinion, and `r1` that of the gradient penalty, taken at photographs. `discriminator` is a linen
    module called as `discriminator(picture, cond)` in [-1, 1]; with `sees`, cond is cond["image"], so that it judges
    pairs. Cost: three evaluations of the discriminator, and with `r1` one more and its derivative's derivative.

    Raises:
        ValueError: `weight` or `r1` is negative.

    Reference: hinge: Lim & Ye 2017, "Geometric GAN", eq. 12-13; r1: Mescheder et al. 2018, "Which training methods for
    GANs do actually converge?", section 4.1; with consistency: Kim et al. 2024, "Consistency trajectory models",
    section 3.
    """

    generator: Regression
    discriminator: nn.Module
    weight: float = 0.1
    r1: float = 0.0
    sees: bool = True

    def __post_init__(self) -> None:
        for name in ("weight", "r1"):
            if getattr(self, name) < 0:
                raise ValueError(f"AdversarialConsistency.{name} must be 0 or above, not {getattr(self, name)}.")

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters of both players."""
        key_generator, key_discriminator = split(key)
        lifted = lift(obs, self.generator.scale)
        judge = self.discriminator.init(key_discriminator, *self._shown(x, lifted))["params"]
        return {"generator": self.generator.init(key_generator, obs, x), "discriminator": judge}

    def adopt(self, params: PyTree, theirs: PyTree) -> PyTree:
        """The generator starts at `theirs`, the parameters of its regression; the discriminator stays fresh."""
        return {**params, "generator": adopt(params["generator"], theirs, "generator/")}

    def judge(self, params: PyTree, x: Float[Array, "b h w c"], obs: Observation) -> Float[Array, " b"]:
        """`J`, above 0 for what it takes for photographs; `obs` must be lifted."""
        logits = self.discriminator.apply({"params": params}, *self._shown(x, obs))
        return jnp.mean(jnp.asarray(logits), axis=(-3, -2, -1))

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Both players' losses in one."""
        learner, disc = self.generator, params["discriminator"]
        obs = lift(obs, learner.scale)
        as_one = dataclasses.replace(state, params=state.params["generator"], ema=state.ema["generator"])
        said = jax.lax.stop_gradient(learner.target(key, learner.evaluate, as_one, obs, x))
        x_hat = learner.evaluate(params["generator"], *said.inputs, obs)
        distance = learner.metric(x_hat, said.target)
        opinion = jnp.mean(self.judge(jax.lax.stop_gradient(disc), x_hat, obs))
        generator = jnp.mean(said.weight * distance) - self.weight * opinion

        real = self.judge(disc, x, obs)
        fake = self.judge(disc, jax.lax.stop_gradient(x_hat), obs)
        discriminator = jnp.mean(jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake))
        logged = {
            "distance": jnp.mean(distance),
            "generator": generator,
            "discriminator": discriminator,
            "told_apart": jnp.mean(real) - jnp.mean(fake),
        }
        return generator + discriminator + self._penalty(disc, x, obs), logged

    def restorer(self, params: PyTree, sampler: Sampler | None = None) -> Restorer:
        """The generator, restoring through its own sampler or another."""
        return self.generator.restorer(params["generator"], sampler)

    def _penalty(self, disc: PyTree, x: Float[Array, "b h w c"], obs: Observation) -> Float[Array, ""]:
        """`r1 / 2` times the mean over images of the squared norm of dJ/dx; images do not see each other."""
        if not self.r1:
            return jnp.zeros((), x.dtype)
        slope = jax.grad(lambda x: jnp.sum(self.judge(disc, x, obs)))(x)
        return 0.5 * self.r1 * jnp.mean(jnp.sum(slope**2, axis=(-3, -2, -1)))

    def _shown(self, x: Array, obs: Observation) -> tuple[Array, Array | None]:
        """What the discriminator is shown: pictures in [-1, 1]."""
        return 2.0 * x - 1.0, 2.0 * obs.cond["image"] - 1.0 if self.sees else None


EXAMPLES = (
    {
        "name": "methods.adversarial.AdversarialConsistency",
        "generator": {
            "name": "methods.regression.Regression",
            "net": {"name": "nets.unet.UNet", "width": 8, "multipliers": (1,), "blocks": 1, "embed": 8},
            "precondition": {"name": "diffusion.precondition.Edm"},
            "target": {"name": "targets.ect.Ect"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.sampler.Consistency"},
        },
        "discriminator": {"name": "nets.discriminator.PatchDiscriminator", "width": 8, "strides": 2},
        "r1": 0.1,
    },
)
