"""A second opinion: any target, and a discriminator that x_hat must pass for a photograph.

    L = mean(weight metric(x_hat, target)) + rival.weight G(rival)        the generator's
        + sum_k weight_k mean metric_k(x_hat, x)                          near the photograph itself
        + D(rival) + penalties                                            the discriminator's

with x_hat the generator's answer to its target's question, and G and D the two sides of `methods.rival.Rival`, of
which none reaches the other's player: one gradient serves two optimisers (`train.optim.Players`).
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Observation, PyTree, Restorer, Sampler, TrainState, split
from restore_jax.methods.gan import Term, held
from restore_jax.methods.regression import Regression, lift
from restore_jax.methods.rival import Rival, adopt_players
from restore_jax.methods.view import View, shown


@dataclass(frozen=True)
class AdversarialConsistency:
    """`generator`'s regression, and a rival's opinion; `params` are {"generator", "discriminator"}.

    Whatever the target asks and holds up (consistency, a clean photograph), x_hat answers, and the rival judges: so a
    trained consistency student is tuned to look real, from `config.start` = its run. `losses` hold it to the photograph
    too, whatever the target is: a rival alone, and a student that is held to its own answers, may drift from it. With a
    `view`, losses and rival see each pair from a place that is drawn anew.

    Reference: with consistency, Kim et al. 2024, "Consistency trajectory models", section 3; the losses are those
    that `methods.rivalry` and `methods.rival` cite.
    """

    generator: Regression
    rival: Rival
    losses: tuple[Term, ...] = ()
    view: View | None = None

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters of both players."""
        key_generator, key_discriminator = split(key)
        lifted = lift(obs, self.generator.scale)
        judge = self.rival.init(key_discriminator, lifted, x)
        return {"generator": self.generator.init(key_generator, obs, x), "discriminator": judge}

    def adopt(self, params: PyTree, theirs: PyTree) -> PyTree:
        """The generator starts at `theirs`, the parameters of its regression; the discriminator stays fresh."""
        return adopt_players(params, theirs)

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Both players' losses in one."""
        learner = self.generator
        obs = lift(obs, learner.scale)
        key_target, key_rival = split(key)
        as_one = dataclasses.replace(state, params=state.params["generator"], ema=state.ema["generator"])
        said = jax.lax.stop_gradient(learner.target(key_target, learner.evaluate, as_one, obs, x))
        x_hat = learner.evaluate(params["generator"], *said.inputs, obs.with_cond(**said.cond))
        distance = learner.metric(x_hat, said.target)
        key_view, key_rival = split(key_rival)
        seen_hat, seen, seen_obs = shown(self.view, key_view, x_hat, x, obs)
        contest = self.rival.contest(params["discriminator"], seen, seen_hat, seen_obs, key_rival)
        near, logged = held(self.losses, seen_hat, seen)
        generator = jnp.mean(said.weight * distance) + near + contest.generator
        logged = {"distance": jnp.mean(distance), **logged}
        return generator + contest.discriminator, logged | {"generator": generator, **contest.logged}

    def restorer(self, params: PyTree, sampler: Sampler | None = None) -> Restorer:
        """The generator, restoring through its own sampler or another."""
        return self.generator.restorer(params["generator"], sampler)


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
        "rival": {
            "name": "methods.rival.Rival",
            "discriminator": {"name": "nets.discriminator.PatchDiscriminator", "width": 8, "strides": 2},
            "rivalry": {"name": "methods.rivalry.Hinge"},
            "r1": 0.1,
        },
    },
)
