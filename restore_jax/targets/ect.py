"""Easy consistency tuning: a diffusion model becomes a consistency model without a teacher."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, normal, per_image, split
from restore_jax.diffusion.schedule import LogNormal


@dataclass(frozen=True)
class Ect:
    """At `(x + s n, s)` the network should have said what it says itself at `(x + r n, r)`, r < s, same n.

        r = s max(0, 1 - gap(s) / q^stage),   gap(s) = 1 + k sigmoid(-b s),   stage = step // stage_steps

    Stage 0 has r = 0, where net(x, 0) = x: that is diffusion training, so a trained diffusion model is
    the right start (`config.start`). Each stage narrows the gap q-fold, and in the limit r -> s the
    only fixed point is the exact consistency function. The weight is `1 / (s - r)`.
    `b` is in units of 1 / sigma; the paper's b = 1 is for pixels of standard deviation 0.5.
    Cost: one evaluation besides the one that is differentiated.

    Reference: Geng et al. 2024, "Consistency models made easy", eq. 8-10 and appendix A.
    """

    levels: LogNormal = LogNormal(mean=-1.1, std=2.0)
    q: float = 2.0
    k: float = 8.0
    b: float = 1.0
    stage_steps: int = 10_000
    max_stage: int = 8

    def earlier(self, s: Float[Array, " b"], step: Int[Array, ""] | int) -> Float[Array, " b"]:
        """The level r of the answer, for the level s of the question, at this training step."""
        stage = jnp.minimum(step // self.stage_steps, self.max_stage)
        gap = 1.0 + self.k * jax.nn.sigmoid(-self.b * s)
        narrowed = jnp.where(stage == 0, 1.0, gap / self.q ** stage.astype(jnp.float32))
        return s * jnp.maximum(0.0, 1.0 - narrowed)

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        key_level, key_noise = split(key)
        s = self.levels(key_level, x.shape[0])
        r = self.earlier(s, jnp.asarray(state.step))
        noise = normal(key_noise, x.shape, x.dtype)
        target = net(state.params, x + per_image(r, x) * noise, r, obs)
        return Supervision(inputs=(x + per_image(s, x) * noise, s), target=target, weight=1.0 / (s - r))


EXAMPLES = ({"name": "targets.ect.Ect", "stage_steps": 10},)
