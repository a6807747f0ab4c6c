"""MeanFlow: a flow map learned from one derivative, without a teacher."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, each, normal, per_image, split
from restore_jax.diffusion.schedule import LogNormal

Answer = Callable[[Float[Array, "b h w c"], Float[Array, " b"]], Float[Array, "b h w c"]]


@dataclass(frozen=True)
class MeanFlow:
    """At `(x + s n, s)`, asked for the jump to t, the network should have said what the MeanFlow identity makes of it.

        g = net(x_s, s, until=t),   dg/ds = its derivative where x_s moves by n a unit of s, until staying

        target = x + d (s - t) / (s (t + d)) (g - x) - (s - t) (s + d) / (t + d) dg/ds

    The paper's mean velocity is u = (z - G) / tau in flow time tau = s / (s + d), rho = t / (t + d), with z and G the
    pictures x_s / (s + d) and g / d without their mean; put into its identity u = v - (tau - rho) du/dtau,
    v = n - x / d, the factors are (tau - rho) / tau and (tau - rho) ds/dtau. An example has t = s with probability
    1 - `share`, where the target is x: denoising. For the others (s, t) is a falling pair of draws from `levels`,
    whose counterpart to the paper's logit-normal(-0.4, 1) of tau is mean = log(d) - 0.4, std = 1.

    The exact flow map is the fixed point: dg/ds along the marginal slope of the flow cancels the rest, and n given x_s
    averages to that slope. The loss on u is |g - target|^2 / (d tau)^2, which the weight divides by
    (mean over pixels of itself + 1e-3)^p; p = 0 leaves it.

    A network told log(sigma), as Edm's is, sees an end of the way, t = 0, that is far from all levels it was trained
    at: Flow's tau and Trig's angle are near. Cost: one forward derivative, two evaluations' worth.

    Reference: Geng et al. 2025, "Mean flows for one-step generative modeling", eq. 6-11 and
    algorithm 1; the weights: section 4.3.
    """

    levels: LogNormal = LogNormal(mean=-1.8, std=1.0)
    sigma_data: float = 0.25
    share: float = 0.25
    p: float = 1.0

    def __post_init__(self) -> None:
        if self.sigma_data <= 0:
            raise ValueError(f"MeanFlow.sigma_data must be above 0, the deviation of the data, not {self.sigma_data}.")
        if not 0 <= self.share <= 1:
            raise ValueError(f"MeanFlow.share, of examples that jump, must be from 0 to 1, not {self.share}.")
        if self.p < 0:
            raise ValueError(f"MeanFlow.p must be at least 0 (0: no adaptive weight), not {self.p}.")

    def answer(
        self,
        ask: Answer,
        x: Float[Array, "b h w c"],
        slope: Float[Array, "b h w c"],
        s: Float[Array, " b"],
        t: Float[Array, " b"],
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
        """`(g, target)` at `x + s slope`, for `ask(x_s, s) = net(x_s, s, until=t)`; slope is n in training."""
        x_s = x + per_image(s, x) * slope
        g, derivative = jax.jvp(ask, (x_s, s), (slope, jnp.ones_like(s)))
        d = self.sigma_data
        towards, along = d * (s - t) / (s * (t + d)), (s - t) * (s + d) / (t + d)
        return g, x + per_image(towards, x) * (g - x) - per_image(along, x) * derivative

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        key_one, key_other, key_share, key_noise = split(key, 4)
        n = x.shape[0]
        one, other = self.levels(key_one, n), self.levels(key_other, n)
        keys = each(key_share, n)
        jumps = jax.vmap(lambda one_key: jax.random.bernoulli(one_key, self.share))(keys)
        s = jnp.where(jumps, jnp.maximum(one, other), one)
        t = jnp.where(jumps, jnp.minimum(one, other), s)
        noise = normal(key_noise, x.shape, x.dtype)

        asked = obs.with_cond(until=t)
        g, target = self.answer(lambda x_s, s: net(state.params, x_s, s, asked), x, noise, s, t)
        per_velocity = ((s + self.sigma_data) / (s * self.sigma_data)) ** 2  # 1 / (d tau)^2
        error = per_velocity * jnp.mean((g - target) ** 2, axis=(-3, -2, -1))
        weight = per_velocity / (error + 1e-3) ** self.p
        return Supervision((x + per_image(s, x) * noise, s), target, weight, {"until": t})


EXAMPLES = ({"name": "targets.meanflow.MeanFlow", "share": 0.5},)
