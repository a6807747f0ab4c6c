"""From files back to a restorer: a training run's, a model's, or a shipped model's by its name."""

from pathlib import Path

import jax
import jax.numpy as jnp

from restore_jax.build import build
from restore_jax.core import Restorer, Sampler
from restore_jax.methods.model import is_model, located, read_model
from restore_jax.train.checkpoint import read


def load(path: str | Path, sampler: Sampler | dict | None = None) -> Restorer:
    """The restorer in a folder: what a run has learned so far, its parameters averaged, or a model.

    A name without a folder of its own is that of a shipped model (`restore_jax.zoo`).

    It restores through its own sampler, or another.

    Raises:
        CheckpointError: neither a checkpoint nor a model is there.
        ModelError: the model is damaged.
        SpecError: the run, the model, or `sampler`, names something this version does not have.
    """
    path = located(path)
    if is_model(path):
        model = read_model(path)
        spec, where, params = model.method, "model.method", model.params
    else:
        config, state, _ = read(path)
        spec, where, params = config["method"], "config.method", state["ema"]
    method = build(spec, where)
    params = jax.tree.map(jnp.asarray, params)
    return method.restorer(params, build(sampler, "sampler")) if sampler else method.restorer(params)
