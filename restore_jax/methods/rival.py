"""The rival of a generator: a discriminator, what the two fight over, and how steep it may be.

    L = weight mean_k G(stop(real_k), judge_k(stop(disc), x_hat))                 the generator's
        + mean_k D(real_k, judge_k(disc, stop(x_hat))) + penalties(disc)          the discriminator's

with real = judge(disc, x), k over the discriminator's maps, and (G, D) the two losses of a `rivalry`. No gradient of
either line reaches the other's player, so one gradient serves two optimisers (`train.optim.Players`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Observation, PyTree, each
from restore_jax.methods.adopt import adopt
from restore_jax.methods.rivalry import Hinge, Rivalry

PLAYERS = {"generator", "discriminator"}


class Contest(NamedTuple):
    """One round: each player's loss, and what to log of it."""

    generator: Float[Array, ""]
    discriminator: Float[Array, ""]
    logged: dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class Rival:
    """A linen module called as `discriminator(picture, cond)` in [-1, 1], its rivalry with a generator, and penalties.

    With `sees`, cond is cond["image"], so that it judges pairs. `weight` is that of its opinion in the generator's
    loss. With J the mean of an image's logits (of all maps alike), and means over images:

        r1 / 2 |dJ/dx|^2 at photographs,  r2 / 2 |dJ/dx|^2 at generated pictures,
        interpolates (|dJ/dx| - 1)^2 at points drawn between the two

    Cost: three evaluations of the discriminator, of which a compiler finds two to be one; with each penalty one more,
    its derivative, and the derivative of that. Neither counts where its number is 0.

    Raises:
        ValueError: a negative number.

    Reference: r1, r2: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", section 4.1;
    interpolates: Gulrajani et al. 2017, "Improved training of Wasserstein GANs", eq. 3.
    """

    discriminator: nn.Module
    rivalry: Rivalry = Hinge()
    weight: float = 0.1
    r1: float = 0.0
    r2: float = 0.0
    interpolates: float = 0.0
    sees: bool = True

    def __post_init__(self) -> None:
        for name in ("weight", "r1", "r2", "interpolates"):
            if getattr(self, name) < 0:
                raise ValueError(f"Rival.{name} must be 0 or above, not {getattr(self, name)}.")

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters of the discriminator; `obs` must be lifted."""
        return self.discriminator.init(key, *self._shown(x, obs))["params"]

    def maps(self, disc: PyTree, x: Float[Array, "b h w c"], obs: Observation) -> tuple[Float[Array, "b _"], ...]:
        """The logits of each map, a row an image; `obs` must be lifted."""
        answer = self.discriminator.apply({"params": disc}, *self._shown(x, obs))
        several = answer if isinstance(answer, tuple | list) else (answer,)
        return tuple(logits.reshape(x.shape[0], -1) for logits in map(jnp.asarray, several))

    def judge(self, disc: PyTree, x: Float[Array, "b h w c"], obs: Observation) -> Float[Array, " b"]:
        """`J`, the larger the more it takes x for a photograph; `obs` must be lifted."""
        means = [jnp.mean(logits, axis=-1) for logits in self.maps(disc, x, obs)]
        return _mean(means)

    def contest(
        self, disc: PyTree, x: Float[Array, "b h w c"], x_hat: Float[Array, "b h w c"], obs: Observation, key: Keys
    ) -> Contest:
        """Both players' losses over photographs x and generated x_hat; `obs` must be lifted.

        Logged: `adversarial`, the generator's loss before its weight; `discriminator`, before penalties; `balance`,
        that over what it is where nothing can be told (1: no opinion; 0: sure of everything); `real` and `fake`, the
        mean logits, and `told_apart`, their difference; `spread`, the variance of x_hat over that of x.
        """
        made = jax.lax.stop_gradient(x_hat)
        real, fake = self.maps(disc, x, obs), self.maps(disc, made, obs)
        opinion = self.maps(jax.lax.stop_gradient(disc), x_hat, obs)
        known = jax.lax.stop_gradient(real)
        generator = _mean([self.rivalry.generator(r, f) for r, f in zip(known, opinion, strict=True)])
        discriminator = _mean([self.rivalry.discriminator(r, f) for r, f in zip(real, fake, strict=True)])
        penalty = self._penalty(disc, x, made, obs, key)
        mean_real, mean_fake = (_mean([jnp.mean(one) for one in maps]) for maps in (real, fake))
        logged = {
            "adversarial": generator,
            "discriminator": discriminator,
            "real": mean_real,
            "fake": mean_fake,
            "told_apart": mean_real - mean_fake,
            "spread": _variance(made) / jnp.maximum(_variance(x), 1e-12),
        }
        if self.rivalry.balanced:
            logged["balance"] = discriminator / self.rivalry.balanced
        if penalty is not None:
            logged["penalty"] = penalty
        return Contest(self.weight * generator, discriminator if penalty is None else discriminator + penalty, logged)

    def _penalty(self, disc: PyTree, x: Array, made: Array, obs: Observation, key: Keys) -> Float[Array, ""] | None:
        """The sum of the penalties that are asked for; images do not see each other."""

        def squared(at: Array) -> Float[Array, " b"]:
            slope = jax.grad(lambda x: jnp.sum(self.judge(disc, x, obs)))(at)
            return jnp.sum(slope**2, axis=(-3, -2, -1))

        parts = []
        if self.r1:
            parts.append(0.5 * self.r1 * jnp.mean(squared(x)))
        if self.r2:
            parts.append(0.5 * self.r2 * jnp.mean(squared(made)))
        if self.interpolates:
            share = jax.vmap(lambda one: jax.random.uniform(one, (1, 1, 1), x.dtype))(each(key, x.shape[0]))
            norm = jnp.sqrt(squared(made + share * (x - made)) + 1e-12)  # a finite slope at 0
            parts.append(self.interpolates * jnp.mean((norm - 1.0) ** 2))
        return sum(parts[1:], parts[0]) if parts else None

    def _shown(self, x: Array, obs: Observation) -> tuple[Array, Array | None]:
        """What the discriminator is shown: pictures in [-1, 1]."""
        return 2.0 * x - 1.0, 2.0 * obs.cond["image"] - 1.0 if self.sees else None


def adopt_players(params: PyTree, theirs: PyTree) -> PyTree:
    """The start of two players: at two others, or the generator at a regression's and the discriminator fresh.

    Raises:
        SpecError: theirs has what ours has no place for.
    """
    if isinstance(theirs, Mapping) and set(theirs) == PLAYERS:
        return adopt(params, theirs)
    return {**params, "generator": adopt(params["generator"], theirs, "generator/")}


def _mean(parts: list) -> Array:
    return sum(parts[1:], parts[0]) / len(parts)


def _variance(x: Array) -> Float[Array, ""]:
    """Of the pixels of a picture, channel by channel; the mean over the batch."""
    return jnp.mean(jnp.var(x, axis=(-3, -2)))


EXAMPLES = (
    {
        "name": "methods.rival.Rival",
        "discriminator": {"name": "nets.discriminator.UNetDiscriminator", "width": 8, "levels": 1},
        "rivalry": {"name": "methods.rivalry.Relativistic"},
        "r1": 0.1,
    },
)
