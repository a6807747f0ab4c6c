"""How one step is spread over devices. The only file that knows of meshes and of pmap.

Each strategy compiles `make(axis) -> step`, places the state and the batch, and gives the state back
whole. All three compute the same step; only the order of the sums over the batch differs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding, PartitionSpec

from restore_jax.core import TrainState

AXIS = "data"
MakeStep = Callable[[str | None], Callable[[TrainState, Any], tuple[TrainState, Any]]]


@dataclass(frozen=True)
class Single:
    """One device, plain jit; the state's buffers are reused from step to step."""

    devices = 1

    def compile(self, make: MakeStep) -> Callable:
        """The compiled step."""
        return jax.jit(make(None), donate_argnums=0)

    def place(self, state: TrainState) -> TrainState:
        """The state, on the device."""
        return jax.device_put(state)

    def whole(self, state: TrainState) -> TrainState:
        """The state as one copy."""
        return state

    def shard(self, batch: np.ndarray) -> jax.Array:
        """The batch, on the device."""
        return jnp.asarray(batch)


@dataclass(frozen=True)
class Mesh(Single):
    """jit over a mesh of `n_devices` (0: all there are): the batch cut along it, the state on each."""

    n_devices: int = 0

    @property
    def devices(self) -> int:
        """How many devices share a batch."""
        return _devices(self.n_devices)

    def _sharding(self, *spec: str | None) -> NamedSharding:
        mesh = DeviceMesh(np.asarray(jax.devices()[: self.devices]), (AXIS,))
        return NamedSharding(mesh, PartitionSpec(*spec))

    def compile(self, make: MakeStep) -> Callable:
        """The compiled step; XLA inserts the sums over devices."""
        whole, cut = self._sharding(), self._sharding(AXIS)
        return jax.jit(make(None), donate_argnums=0, in_shardings=(whole, cut), out_shardings=(whole, whole))

    def place(self, state: TrainState) -> TrainState:
        """The state, copied to each device."""
        return jax.device_put(state, self._sharding())

    def shard(self, batch: np.ndarray) -> jax.Array:
        """The batch, a slice on each device."""
        return jax.device_put(_divides(batch, self.devices), self._sharding(AXIS))


@dataclass(frozen=True)
class Pmap(Single):
    """`jax.pmap` over `n_devices` (0: all there are), with explicit means over the axis. In maintenance in JAX."""

    n_devices: int = 0

    @property
    def devices(self) -> int:
        """How many devices share a batch."""
        return _devices(self.n_devices)

    def compile(self, make: MakeStep) -> Callable:
        """The mapped step; its metrics, equal on each device, come back once."""
        mapped = jax.pmap(make(AXIS), axis_name=AXIS, devices=jax.devices()[: self.devices], donate_argnums=0)

        def step(state: TrainState, batch: Any) -> tuple[TrainState, Any]:
            state, metrics = mapped(state, batch)
            return state, jax.tree.map(lambda m: m[0], metrics)

        return step

    def place(self, state: TrainState) -> TrainState:
        """The state with a leading device axis."""
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * self.devices), state)

    def whole(self, state: TrainState) -> TrainState:
        """The first device's copy."""
        return jax.tree.map(lambda leaf: leaf[0], state)

    def shard(self, batch: np.ndarray) -> np.ndarray:
        """`[b, ...]` to `[devices, b / devices, ...]`."""
        batch = _divides(batch, self.devices)
        return batch.reshape(self.devices, -1, *batch.shape[1:])


def _devices(asked: int) -> int:
    if asked > jax.device_count():
        raise ValueError(f"{asked} devices were asked for and there are {jax.device_count()}.")
    return asked or jax.device_count()


def _divides(batch: np.ndarray, devices: int) -> np.ndarray:
    if batch.shape[0] % devices:
        raise ValueError(f"A batch of {batch.shape[0]} does not divide over {devices} devices: change batch_size.")
    return batch


EXAMPLES = (
    {"name": "train.parallel.Single"},
    {"name": "train.parallel.Mesh"},
    {"name": "train.parallel.Pmap"},
)
