"""Consistency on a bridge: one answer for all points of a trajectory from the observation to the photograph."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, each, split
from restore_jax.diffusion.bridge import Process


@dataclass(frozen=True)
class BridgeConsistency:
    """At `(x_s, s)` the network should have said what it says itself at `(x_r, r)`, r < s, both with the same noise:

        x_t = x + w(t) (y - x) + std(t) n,    r = s (1 - 1 / q^stage),    stage = min(step // stage_steps, max_stage)

    y is cond["image"], and the level, a time in (0, 1], IS GIVEN IN THE PLACE OF SIGMA, as to `targets.bridge.Bridge`.
    Stage 0 has r = 0, where net(x, 0) = x: that is a bridge's own training, so a trained bridge is the right start
    (`config.start`). Each stage narrows the gap q-fold, and in the limit the only fixed point is the function that
    takes every point of the flow from y to the end of its trajectory; `diffusion.bridge.Bridge` of one step or two
    restores with it. Levels are uniform, but for a share `at_end` of the questions, which are put where restoring
    starts, at 1. The weight is `1 / (s - r)`. Cost: one evaluation besides the one that is differentiated.

    On a pinned bridge x_1 = y whatever n is: the answer asked for there is a mean, over the trajectories that leave y.

    Raises:
        ValueError: numbers out of range; at the call, no cond["image"].

    Reference: He et al. 2024, "Consistency diffusion bridge models", section 3.3 (consistency bridge tuning), with the
    gap of Geng et al. 2024, "Consistency models made easy", eq. 8-10, for times.
    """

    bridge: Process
    q: float = 2.0
    stage_steps: int = 10_000
    max_stage: int = 8
    at_end: float = 0.0

    def __post_init__(self) -> None:
        if not self.q > 1:
            raise ValueError(f"BridgeConsistency.q must be above 1, not {self.q}: each stage narrows the gap by it.")
        if self.stage_steps < 1:
            raise ValueError(f"BridgeConsistency.stage_steps must be 1 or above, not {self.stage_steps}.")
        if not 0 <= self.at_end <= 1:
            raise ValueError(f"BridgeConsistency.at_end is a share, from 0 to 1, not {self.at_end}.")

    def earlier(self, s: Float[Array, " b"], step: Int[Array, ""] | int) -> Float[Array, " b"]:
        """The level r of the answer, for the level s of the question, at this training step."""
        stage = jnp.minimum(jnp.asarray(step) // self.stage_steps, self.max_stage)
        return s * (1.0 - self.q ** -stage.astype(jnp.float32))

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        if "image" not in obs.cond:
            raise ValueError(
                'targets.bridge_consistency.BridgeConsistency needs cond["image"], the observation on the grid of x: '
                "the bridge's far end."
            )
        key_level, key_end, key_noise = split(key, 3)
        drawn, chance = (
            jax.vmap(lambda one: jax.random.uniform(one, dtype=x.dtype))(each(k, x.shape[0]))
            for k in (key_level, key_end)
        )
        s = jnp.where(chance < self.at_end, 1.0, jnp.maximum(drawn, 1e-6))
        r = self.earlier(s, state.step)
        # One key, so that both points have the same noise.
        x_s, x_r = (self.bridge.sample(key_noise, x, obs.cond["image"], t) for t in (s, r))
        return Supervision(inputs=(x_s, s), target=net(state.params, x_r, r, obs), weight=1.0 / (s - r))


EXAMPLES = (
    {
        "name": "targets.bridge_consistency.BridgeConsistency",
        "bridge": {"name": "diffusion.bridge.ResidualShift", "kappa": 0.3},
        "stage_steps": 10,
        "at_end": 0.5,
    },
)
