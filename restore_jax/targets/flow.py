"""Flow matching: the target that makes a rectified flow."""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, normal, per_image, split
from restore_jax.diffusion import precondition
from restore_jax.diffusion.schedule import LogNormal


@dataclass(frozen=True)
class Flow:
    """At `(x + sigma n, sigma)` the network should have said x, and is corrected as its velocity would be.

        z_tau = (1 - tau) z_0 + tau n,   tau = sigma / (sigma + d),   z_0 = (x - m) / d,   d = sigma_data
        weight (D - x)^2 = |F - (n - z_0)|^2,   weight = ((sigma + d) / (sigma d))^2 = 1 / c_out^2

    with F the output of a network behind `precondition.Flow`, d the same in both: the weight makes it the loss of the
    paper, for one change of variables leads from `z_tau` to x_t. `levels` is a distribution of sigma. The default is
    logit-normal in tau, logit(tau) ~ N(0, 1): since logit(tau) = log(sigma / d), it is log-normal in sigma. Exact: the
    squared loss is least at E[x | x_t], whatever the weight. Cost: none besides the evaluation that is differentiated.

    Reference: Lipman et al. 2023, "Flow matching for generative modeling", eq. 20-23; Liu et al. 2023, "Flow straight
    and fast", eq. 1; levels: Esser et al. 2024, "Scaling rectified flow transformers", section 3.1.
    """

    levels: Any = LogNormal(mean=math.log(0.25), std=1.0)
    sigma_data: float = 0.25

    def __post_init__(self) -> None:
        if self.sigma_data <= 0:
            raise ValueError(f"Flow.sigma_data must be above 0, not {self.sigma_data}.")

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        del net, state
        key_level, key_noise = split(key)
        sigma = self.levels(key_level, x.shape[0])
        x_t = x + per_image(sigma, x) * normal(key_noise, x.shape, x.dtype)
        c_out = precondition.Flow(self.sigma_data).coefficients(sigma).c_out
        return Supervision(inputs=(x_t, sigma), target=x, weight=1.0 / c_out**2)


EXAMPLES = ({"name": "targets.flow.Flow"},)
