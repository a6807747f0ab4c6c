"""From a training run back to a restorer."""

from pathlib import Path

import jax
import jax.numpy as jnp

from restore_jax.build import build
from restore_jax.core import Restorer, Sampler
from restore_jax.train.checkpoint import read


def load(workdir: str | Path, sampler: Sampler | dict | None = None) -> Restorer:
    """The restorer that the run in `workdir` has learned so far: its averaged parameters, its own sampler or another.

    Raises:
        CheckpointError: no checkpoint there.
        SpecError: the run, or `sampler`, names something this version does not have.
    """
    config, state, _ = read(workdir)
    method = build(config["method"], "config.method")
    params = jax.tree.map(jnp.asarray, state["ema"])
    return method.restorer(params, build(sampler, "sampler")) if sampler else method.restorer(params)
