"""`Preview`: what the averaged parameters make of four held-out crops, the same at every look."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.build import build
from restore_jax.core import Degradation, Method, PyTree
from restore_jax.data.pipeline import Pipeline, to_float
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.config import Config

CROPS = 4


class Preview:
    """Four held-out crops and their observations; called with parameters, what they make of them."""

    def __init__(self, config: Config, method: Method, degrade: Degradation):
        source = build(config.heldout_set or config.train_set, "config.heldout_set")
        self.x = to_float(Pipeline(source, CROPS, config.crop_px, seed=1, augment=False)[0])
        self.obs = jax.vmap(degrade)(jax.random.split(jax.random.key(1), CROPS), self.x)
        self.keys = jax.random.split(jax.random.key(2), CROPS)
        self._restore = jax.jit(lambda params, keys, obs: method.restorer(params)(keys, obs))

    def __call__(self, params: PyTree) -> tuple[float, np.ndarray]:
        """The mean PSNR, dB, and the grid in [0, 1]."""
        x_hat = jnp.clip(self._restore(params, self.keys, self.obs), 0, 1)
        repeat = self.x.shape[1] // self.obs.y.shape[1]
        y: Any = jnp.repeat(jnp.repeat(self.obs.y, repeat, axis=1), repeat, axis=2)
        grid = jnp.concatenate([jnp.concatenate(list(row), axis=0) for row in (y, x_hat, self.x)], axis=1)
        return float(jnp.mean(Psnr()(x_hat, self.x))), np.asarray(grid)
