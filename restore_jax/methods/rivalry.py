"""What two players of a GAN want of the same logits: losses of adversaries, one a class.

    rivalry.generator(real, fake)        what the generator descends
    rivalry.discriminator(real, fake)    what the discriminator descends

`real` are the logits of photographs and `fake` those of generated pictures, arrays of one shape (a number a picture,
a patch, a pixel). `balanced` is the discriminator's loss where it cannot tell and says so the best way (the same logit
for both); 0 is its infimum, but for `Wasserstein`, which has none.
"""

from dataclasses import dataclass
from math import log
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

softplus = jax.nn.softplus


@runtime_checkable
class Rivalry(Protocol):
    """An adversarial loss: both players' part of it, each a mean over all logits."""

    @property
    def balanced(self) -> float:
        """The discriminator's loss where it cannot tell, at its best; 0 where the loss has no scale."""
        ...

    def generator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """The generator's loss."""
        ...

    def discriminator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """The discriminator's loss."""
        ...


@dataclass(frozen=True)
class Vanilla:
    """Two classes: `softplus(-real) + softplus(fake)`; the generator's `softplus(-fake)` does not saturate.

    The best discriminator of densities p and q says log p - log q.

    Reference: Goodfellow et al. 2014, "Generative adversarial nets", eq. 1, proposition 1, and section 3 on saturation.
    """

    balanced = 2 * log(2)

    def generator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean softplus(-fake)`."""
        del real
        return jnp.mean(softplus(-fake))

    def discriminator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean softplus(-real) + mean softplus(fake)`."""
        return jnp.mean(softplus(-real)) + jnp.mean(softplus(fake))


@dataclass(frozen=True)
class LeastSquares:
    """LSGAN: `(real - 1)^2 / 2 + fake^2 / 2`, and `(fake - 1)^2 / 2` for the generator.

    The best discriminator of densities p and q says p / (p + q).

    Reference: Mao et al. 2017, "Least squares generative adversarial networks", eq. 9.
    """

    balanced = 0.25

    def generator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean (fake - 1)^2 / 2`."""
        del real
        return 0.5 * jnp.mean((fake - 1.0) ** 2)

    def discriminator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean (real - 1)^2 / 2 + mean fake^2 / 2`."""
        return 0.5 * jnp.mean((real - 1.0) ** 2) + 0.5 * jnp.mean(fake**2)


@dataclass(frozen=True)
class Hinge:
    """`relu(1 - real) + relu(1 + fake)`, and `-fake` for the generator.

    Reference: Lim & Ye 2017, "Geometric GAN", eq. 12-13.
    """

    balanced = 2.0

    def generator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`-mean fake`."""
        del real
        return -jnp.mean(fake)

    def discriminator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean relu(1 - real) + mean relu(1 + fake)`."""
        return jnp.mean(jax.nn.relu(1.0 - real)) + jnp.mean(jax.nn.relu(1.0 + fake))


@dataclass(frozen=True)
class Relativistic:
    """The average relativistic loss: how much more real a photograph is than generated pictures on average.

        d_real = real - mean(fake),    d_fake = fake - mean(real)
        discriminator  mean softplus(-d_real) + mean softplus(d_fake)
        generator      mean softplus(d_real) + mean softplus(-d_fake)

    A number added to all logits changes nothing. Means are over every logit at hand: over the batch, which a picture's
    loss therefore depends on, and over a device's own share of it. The generator too learns from photographs, through
    mean(fake).

    Reference: Jolicoeur-Martineau 2019, "The relativistic discriminator", section 4.2; as ESRGAN has it: Wang et al.
    2018, "ESRGAN", eq. 1-2.
    """

    balanced = 2 * log(2)

    def generator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """The discriminator's with the parts exchanged."""
        return self.discriminator(fake, real)

    def discriminator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean softplus(mean(fake) - real) + mean softplus(fake - mean(real))`."""
        return jnp.mean(softplus(jnp.mean(fake) - real)) + jnp.mean(softplus(fake - jnp.mean(real)))


@dataclass(frozen=True)
class Wasserstein:
    """`mean(fake) - mean(real)`, and `-mean(fake)` for the generator; unbounded, so that it wants a gradient penalty.

    Where the discriminator is 1-Lipschitz, minus its loss is a lower bound of the distance of the two distributions:
    `Rival.interpolates` = 10 is what the paper takes to make it so.

    Reference: Gulrajani et al. 2017, "Improved training of Wasserstein GANs", eq. 2-3.
    """

    balanced = 0.0

    def generator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`-mean fake`."""
        del real
        return -jnp.mean(fake)

    def discriminator(self, real: Float[Array, "*n"], fake: Float[Array, "*n"]) -> Float[Array, ""]:
        """`mean fake - mean real`."""
        return jnp.mean(fake) - jnp.mean(real)


EXAMPLES = (
    {"name": "methods.rivalry.Vanilla"},
    {"name": "methods.rivalry.LeastSquares"},
    {"name": "methods.rivalry.Hinge"},
    {"name": "methods.rivalry.Relativistic"},
    {"name": "methods.rivalry.Wasserstein"},
)
