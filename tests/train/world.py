"""A state with a leaf of each kind, and a place in data, for tests of checkpoints: nothing in them is compiled."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.core import TrainState

CONFIG: dict[str, Any] = {"degrade": {"name": "degrade.noise.Gaussian", "std": 0.1}, "images": 64, "batch_size": 4}


@dataclass
class Place:
    """Stands for a Grain iterator."""

    at: int = 0

    def get_state(self) -> dict[str, int]:
        return {"next": self.at}

    def set_state(self, state: dict[str, int]) -> None:
        self.at = state["next"]


def state_at(step: int, width: int = 24) -> TrainState:
    """A state that no other step has: every leaf is drawn anew, from random bits where all bits are numbers."""
    rng = np.random.default_rng(step)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    params = {"conv": {"kernel": draw(3, 3, width, width), "bias": draw(width)}, "list": [draw(2), draw()]}
    half = jnp.asarray(rng.standard_normal(7), jnp.bfloat16)
    return TrainState(
        step=jnp.int32(step),
        params=params,
        ema=jax.tree.map(lambda p: p * 0.5, params),
        opt_state=({"mu": draw(width), "nu": half, "count": jnp.int32(3 * step)}, None, ()),
        key=jax.random.key(step),
        frozen={"teacher": draw(5)},
        aux={"seen": jnp.asarray(rng.integers(0, 2**32, 4, dtype=np.uint32)), "key": jax.random.key(step + 1)},
    )


def bits(state: Any) -> dict[str, bytes]:
    """Every leaf as its type, shape and bytes, by path: equal if and only if the states are, to the bit."""
    raw = lambda leaf: jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.tree.map(raw, state))
    whole = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    return {path: f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes() for path, leaf in whole.items()}
