"""A run small enough to start many times: one 3x3-net on 16-pixel crops, two steps of which take milliseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from restore_jax.core import Observation

TINY_NET = {"name": "nets.unet.UNet", "width": 4, "multipliers": (1,), "blocks": 1, "patch": 2, "embed": 4}
NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}
DIFFUSION = {
    "name": "methods.regression.Regression",
    "net": TINY_NET,
    "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
    "target": {"name": "targets.denoise.Denoise", "sigma_data": 0.1},
    "metric": {"name": "metrics.pixel.Mse"},
    "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (1.0,), "start": "image"},
}


def tiny_config(**fields: Any) -> dict[str, Any]:
    return {
        "train_set": {"name": "data.sets.embedded.Embedded", "split": "heldout"},
        "degrade": NOISE,
        "method": DIFFUSION,
        "optim": {"name": "train.optim.AdamW", "rate": 1e-3},
        "label": "tiny",
        "images": 32,
        "batch_size": 4,
        "crop_px": 16,
        "ema_half_life_images": 16,
        "log_every_images": 4,
        "checkpoint_every_images": 8,
        "preview_every_images": 32,
        **fields,
    }


@dataclass(frozen=True)
class Alarm:
    """A guard's rule that finds step `at` at fault for as long as its rate is above `above`."""

    at: int = 5
    above: float = 0.0
    rows: int = 1
    times: int = 1
    slower: float = 0.5

    def __call__(self, table: Sequence[Mapping[str, float]]) -> str:
        last = table[-1]
        return "the alarm rang" if last["step"] == self.at and last["rate"] > self.above else ""


@dataclass(frozen=True)
class Torn:
    """y = x, but not a number where x is lighter than `level` on average: some photographs and not others."""

    level: float = 0.0

    def __call__(self, key: jax.Array, x: jax.Array) -> Observation:
        y = jnp.where(jnp.mean(x) > self.level, jnp.nan, 1.0) * x
        return Observation(y=y, cond={"image": y})


class Bare:
    """A method of one number that learns nothing, to be given what a test is about."""

    def init(self, key: Any, obs: Any, x: Any) -> Any:
        return {"w": jnp.zeros(1)}

    def loss(self, params: Any, state: Any, obs: Any, x: Any, key: Any) -> Any:
        return jnp.zeros(()), {}

    def restorer(self, params: Any) -> Any:
        return lambda keys, obs: obs.y + params
