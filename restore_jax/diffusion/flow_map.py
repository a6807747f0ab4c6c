"""Sampling with a flow map: a network that knows the way from any level to any other.

Asked at level s under cond["until"] = t, a flow map answers g(x_s, s, t), the picture that Euler's step would have to
be told to arrive at t exactly,

    x_t = (t / s) x_s + (1 - t / s) g(x_s, s, t)                                        `solver.jump`

so that with t = s it is the denoiser and with t = 0 the consistency function. It is trained by `targets.ctm`,
`targets.meanflow` or `targets.shortcut`.
"""

import itertools
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Conditional, Denoiser, Keys, Observation
from restore_jax.diffusion.sampler import Start, noise_images, start_mean
from restore_jax.diffusion.solver import jump


@dataclass(frozen=True)
class FlowMap:
    """`x = jump(g(x, s, t), x, s, t)` for each level s of `sigmas` and the next one t, the last of them 0.

    One evaluation a level and no fresh noise: unlike multistep consistency sampling it follows one trajectory of the
    flow, and an exact flow map lands on the same picture in any number of jumps. Unrolled, so that it leaves in one
    graph.

    Reference: Kim et al. 2023, "Consistency trajectory models", gamma-sampling with gamma = 0.

    Raises:
        ValueError: the levels do not fall or are not above 0; the denoiser cannot be asked where it shall jump to.
    """

    sigmas: tuple[float, ...] = (80.0,)
    start: Start = "noise"

    draws = 1

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in itertools.pairwise(self.sigmas))
        if not self.sigmas or not falling or self.sigmas[-1] <= 0:
            raise ValueError(f"FlowMap.sigmas must fall and be above 0 (0 is added behind them), not {self.sigmas}.")

    @property
    def nfe(self) -> int:
        """One evaluation a level."""
        return len(self.sigmas)

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation."""
        if not isinstance(denoise, Conditional):
            raise ValueError(
                "FlowMap needs a denoiser that can be asked under another condition (core.Conditional), as a method's"
                f" own is, not {denoise}. Guidance that hides the network from it does not go with flow maps."
            )
        (noise,) = noise_images(key, obs, 1)
        x = start_mean(self.start, obs) + self.sigmas[0] * noise
        for s, t in itertools.pairwise((*self.sigmas, 0.0)):
            # One number an image of both: a condition has the batch's axes.
            here, there = (jnp.full(x.shape[:-3], level, x.dtype) for level in (s, t))
            x = jump(denoise.given(until=there)(x, here), x, here, there)
        return x


EXAMPLES = (
    {"name": "diffusion.flow_map.FlowMap", "sigmas": (80.0,)},
    {"name": "diffusion.flow_map.FlowMap", "sigmas": (80.0, 0.8, 0.1)},
)
