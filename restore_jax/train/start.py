"""What a run begins from: another run's averaged parameters, as its own (`config.start`) or as its teacher's."""

from pathlib import Path

import jax
import jax.numpy as jnp

from restore_jax.build import SpecError
from restore_jax.core import Method, PyTree, TrainState
from restore_jax.methods.adopt import adopt
from restore_jax.train.checkpoint import read


def averaged(workdir: str | Path) -> PyTree:
    """The averaged parameters of another run's newest checkpoint."""
    _, state, _ = read(workdir)
    return jax.tree.map(jnp.asarray, state["ema"])


def starting_from(state: TrainState, method: Method, workdir: str | Path) -> TrainState:
    """The state with another run's averaged parameters, by the method's own rule of `adopt` where it has one.

    Raises:
        SpecError: they are those of another network.
    """
    try:
        params = getattr(method, "adopt", adopt)(state.params, averaged(workdir))
    except SpecError as error:
        raise SpecError(f"config.start = {str(workdir)!r} holds another network than config.method: {error}") from error
    # Two players may have started at one array, and a step's buffers are given away one by one: each gets its own.
    return state.replace(params=jax.tree.map(jnp.copy, params), ema=jax.tree.map(jnp.copy, params))
