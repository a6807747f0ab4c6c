"""Simplified continuous-time consistency models: the limit of infinitely near neighbours, as a derivative."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, normal, per_image, split
from restore_jax.diffusion import solver
from restore_jax.diffusion.schedule import LogNormal


@dataclass(frozen=True)
class Scm:
    """At `(x_s, s)` the network should have said what it does, moved against its own change along the trajectory.

    In TrigFlow's variables, tan(t) = s / d, x_trig = cos(t) (x_s - m), d = sigma_data, with F the raw output,
    D = m + cos(t) x_trig - sin(t) d F, the tangent is

        g = -cos(t)^2 (d F - dx_trig/dt) - r cos(t) sin(t) (x_trig + d dF/dt),   r = min(1, step / warmup_steps)

    which is cos(t) dD/dt at r = 1. In ours, with (D, dD) = jvp(net, (x_s, s), (slope, 1)), m drops out:

        a = d cos(t) (slope - (x_s - D) / s),   g = a + r (d dD / cos(t) - a)
        target = D - d sin(t) sqrt(h w c) g / (|g| + c),   weight = 1 / (d sin(t))^2 = 1 / c_out^2

    `kind = "training"` takes slope = n; "distillation" takes the teacher's, (x_s - teacher(x_s, s)) / s, whose
    parameters are state.frozen["teacher"]. At r = 0 the fixed point is the denoiser, at r = 1 the exact consistency
    function, without an error of discretisation; in training both in the mean over n. The norm is over the picture;
    sqrt(h w c), a constant, keeps gradients as large whatever the crop. It wants `metrics.pixel.Mse`, and the network
    behind `precondition.Trig` or V or Edm of the same sigma_data. Of the paper's weights, 1 / (d tan(t)) is in g
    already; the adaptive one, a second network, is left out. Normalised, the loss stays near 1 whatever was learned:
    watch a metric of restored pictures. Cost: one evaluation with its forward derivative (about two evaluations), and
    the teacher's; the network must be differentiable forwards.

    Raises:
        ValueError: distillation without a teacher.

    Reference: Lu & Song 2024, "Simplifying, stabilizing and scaling continuous-time consistency models", eq. 6-8 and
    algorithm 1.
    """

    kind: Literal["training", "distillation"] = "training"
    levels: Any = LogNormal(mean=-1.0 + math.log(0.5), std=1.4)
    sigma_data: float = 0.25
    warmup_steps: int = 10_000
    c: float = 0.1
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("training", "distillation"):
            raise ValueError(f"Scm.kind is 'training' or 'distillation', not {self.kind!r}.")
        for name in ("sigma_data", "c"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Scm.{name} must be above 0, not {getattr(self, name)}.")
        if self.warmup_steps < 0:
            raise ValueError(f"Scm.warmup_steps must be at least 0, which is no warm-up, not {self.warmup_steps}.")

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        key_level, key_noise = split(key)
        s = self.levels(key_level, x.shape[0])
        noise = normal(key_noise, x.shape, x.dtype)
        x_s = x + per_image(s, x) * noise
        slope = noise if self.kind == "training" else self._teachers_slope(net, state, obs, x_s, s)
        answer, change = jax.jvp(lambda z, level: net(state.params, z, level, obs), (x_s, s), (slope, jnp.ones_like(s)))
        hypotenuse = jnp.sqrt(s**2 + self.sigma_data**2)
        cos = per_image(self.sigma_data / hypotenuse, x)
        steady = self.sigma_data * cos * (slope - (x_s - answer) / per_image(s, x))
        warm = jnp.minimum(1.0, state.step / self.warmup_steps) if self.warmup_steps else 1.0
        tangent = steady + warm * (self.sigma_data * change / cos - steady)
        if self.normalise:
            norm = jnp.sqrt(jnp.sum(tangent**2, axis=(-3, -2, -1), keepdims=True))
            tangent = math.sqrt(math.prod(x.shape[-3:])) * tangent / (norm + self.c)
        c_out = s * self.sigma_data / hypotenuse  # d sin(t)
        return Supervision(inputs=(x_s, s), target=answer - per_image(c_out, x) * tangent, weight=1.0 / c_out**2)

    def _teachers_slope(
        self, net: Net, state: TrainState, obs: Observation, x_s: Float[Array, "b h w c"], s: Float[Array, " b"]
    ) -> Float[Array, "b h w c"]:
        if "teacher" not in state.frozen:
            raise ValueError(
                'Scm.kind = "distillation" needs state.frozen["teacher"]: set config.teacher to a trained workdir,'
                ' or kind = "training".'
            )
        return solver.slope(lambda z, level: net(state.frozen["teacher"], z, level, obs), x_s, s)


EXAMPLES = (
    {"name": "targets.scm.Scm", "warmup_steps": 100},
    {"name": "targets.scm.Scm", "kind": "distillation", "warmup_steps": 0},
)
