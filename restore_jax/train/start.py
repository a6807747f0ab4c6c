"""What a run begins from: another run's averaged parameters, as its own (`config.start`) or as its teacher's.

Either is a run's workdir, a model's folder, or the name of a shipped model.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

from restore_jax.build import SpecError
from restore_jax.core import Method, PyTree, TrainState
from restore_jax.methods.adopt import adopt
from restore_jax.methods.model import is_model, located, read_model
from restore_jax.train.checkpoint import read


def averaged(path: str | Path) -> PyTree:
    """The averaged parameters of another run's newest checkpoint, or those of a model."""
    path = located(path)
    params = read_model(path).params if is_model(path) else read(path)[1]["ema"]
    return jax.tree.map(jnp.asarray, params)


def starting_from(state: TrainState, method: Method, path: str | Path) -> TrainState:
    """The state with another run's or a model's parameters, by the method's own rule of `adopt` where it has one.

    Raises:
        SpecError: they are those of another network.
    """
    try:
        params = getattr(method, "adopt", adopt)(state.params, averaged(path))
    except SpecError as error:
        raise SpecError(f"config.start = {str(path)!r} holds another network than config.method: {error}") from error
    # Two players may have started at one array, and a step's buffers are given away one by one: each gets its own.
    return state.replace(params=jax.tree.map(jnp.copy, params), ema=jax.tree.map(jnp.copy, params))
