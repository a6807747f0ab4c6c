"""How one step is spread over devices. The only file that knows of meshes and of pmap.

Each strategy compiles `make(axis) -> step`, places the state and the batch, and gives the state back
whole. All compute the same step; only the order of the sums over the batch differs.

    Single   one device
    Mesh     jit over data x fsdp devices: the batch cut over all of them, the state over fsdp of them
    Pmap     jax.pmap over the devices of one process

A batch is `b h w c`; with one more axis in front it is the batches of several steps, which one dispatch runs.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding, PartitionSpec

from restore_jax.core import PyTree, TrainState
from restore_jax.nets.layers import depthwise_as

DATA, FSDP = "data", "fsdp"
StepFn = Callable[[TrainState, Any], tuple[TrainState, Any]]
MakeStep = Callable[[Any], StepFn]  # of None, of a mapped axis's name, or of a `train.step.Layout`


@dataclass(frozen=True)
class Single:
    """One device, plain jit; the state's buffers are reused from step to step."""

    devices = 1
    saves_whole = False  # whether checkpoints hold `whole(state)`, and not the state as it is placed

    def check(self, batch_size: int, accumulate: int = 1) -> None:
        """Nothing if batches of this size can be trained on in `accumulate` parts, before anything is compiled.

        Raises:
            ValueError: the devices, times the parts, do not divide the batch; a mesh of another size than the devices.
        """
        shares = self.devices * max(1, accumulate)
        if batch_size % shares:
            parts = f" in {accumulate} parts" if accumulate > 1 else ""
            raise ValueError(
                f"{type(self).__name__}: a batch of {batch_size} does not divide over {self.devices} devices{parts}: "
                f"batch_size must be a multiple of {shares}."
            )

    def compile(self, make: MakeStep, steps: int = 1) -> Callable:
        """The compiled step; with `steps` > 1, so many in one dispatch, and their metrics along a leading axis."""
        return jax.jit(_scanned(make(None), steps), donate_argnums=0)

    def place(self, state: TrainState) -> TrainState:
        """The state, on the device."""
        return jax.device_put(state)

    def whole(self, state: TrainState) -> TrainState:
        """The state as one copy that the host can read."""
        return state

    def shard(self, batch: np.ndarray) -> jax.Array:
        """The batch, on the device."""
        return jnp.asarray(batch)


@dataclass(frozen=True)
class Mesh(Single):
    """jit over a mesh of `data` x `fsdp` devices, over all processes: XLA inserts what they have to tell each other.

    The batch is cut over all devices. The state is copied `data` times and, each time, cut into `fsdp` parts: each
    leaf (parameters, moments, averages, teachers) along its largest axis that `fsdp` divides; one that has none, or is
    smaller than `least_bytes`, is copied, since telling it costs more than keeping it. `data` = 0 takes the devices
    that `fsdp` leaves. Devices are in the order of processes, so that a process's rows of a batch are one block and
    `fsdp` up to its number of devices stays within it.

    At rest a device holds 1 / fsdp of the state. In a step it holds the parameters whole as well (and whatever
    averages and teachers the loss looks at), gathered once, and never the moments.

    Raises:
        ValueError: a negative number, `fsdp` of 0; later, when devices are known: data x fsdp is not their number.

    Reference: Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models",
    section 5 (P_os+g); Xu et al. 2021, "GSPMD: general and scalable parallelization for ML computation graphs".
    """

    data: int = 0
    fsdp: int = 1
    least_bytes: int = 4096

    def __post_init__(self) -> None:
        for name, least in (("data", 0), ("fsdp", 1), ("least_bytes", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"Mesh.{name} must be {least} or above, not {getattr(self, name)}.")

    @property
    def devices(self) -> int:
        """How many devices share a batch: all there are."""
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(data, fsdp), with what 0 stands for.

        Raises:
            ValueError: they do not multiply to the devices.
        """
        there = jax.device_count()
        data = self.data or there // self.fsdp
        if data * self.fsdp != there:
            asked = f"{self.data} x {self.fsdp}" if self.data else f"(all others) x {self.fsdp}"
            raise ValueError(
                f"Mesh.data x Mesh.fsdp must be the number of devices, {there}, not {asked}: choose two numbers whose "
                f"product is {there}, or data = 0 and a divisor of {there}."
            )
        return data, self.fsdp

    def compile(self, make: MakeStep, steps: int = 1) -> Callable:
        """The compiled step; with `steps` > 1, so many in one dispatch, and their metrics along a leading axis."""
        layout = _OnMesh(self._mesh(), self.least_bytes)
        step = make(layout)

        def laid_out(state: TrainState, batch: Any) -> tuple[TrainState, Any]:
            # Forms made for one CPU walk over rows and pictures, across whatever the mesh divides.
            with depthwise_as("conv") if self.devices > 1 else contextlib.nullcontext():
                state, metrics = step(state, batch)
            return layout.cut(state), layout.whole(metrics)

        return jax.jit(_scanned(laid_out, steps), donate_argnums=0)

    def place(self, state: TrainState) -> TrainState:
        """The state on the devices, cut or copied; each process gives the same one."""
        layout = _OnMesh(self._mesh(), self.least_bytes)
        return jax.tree.map(lambda leaf: _put(leaf, layout.sharding(leaf)), state)

    def whole(self, state: TrainState) -> TrainState:
        """The state in the host's memory; in a run of several processes, each must ask."""
        return jax.tree.map(_on_host, state)

    def shard(self, batch: np.ndarray) -> jax.Array:
        """This process's rows, and those of the others, as one batch: a block of rows on each device."""
        axis = _rows_axis(batch)
        processes, rows = jax.process_count(), batch.shape[axis]
        self.check(rows * processes)
        whole = (*batch.shape[:axis], rows * processes, *batch.shape[axis + 1 :])
        sharding = NamedSharding(self._mesh(), _rows(axis))
        return jax.make_array_from_process_local_data(sharding, np.asarray(batch), whole)

    def _mesh(self) -> DeviceMesh:
        ordered = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        return DeviceMesh(np.asarray(ordered).reshape(self.shape), (DATA, FSDP))


@dataclass(frozen=True)
class Pmap(Single):
    """`jax.pmap` over all devices of one process, with explicit means over the axis; in maintenance in JAX.

    Raises:
        ValueError: n_devices is neither 0 nor the number of devices; several processes.
    """

    n_devices: int = 0

    saves_whole = True

    @property
    def devices(self) -> int:
        """How many devices share a batch."""
        there = jax.device_count()
        if jax.process_count() > 1:
            raise ValueError(f"Pmap runs in 1 process, not {jax.process_count()}: choose train.parallel.Mesh.")
        if not 0 <= self.n_devices <= there:
            raise ValueError(f"Pmap.n_devices must be from 0 (all) to {there}, the devices, not {self.n_devices}.")
        return self.n_devices or there

    def compile(self, make: MakeStep, steps: int = 1) -> Callable:
        """The mapped step; its metrics, equal on each device, come back once."""
        mapped = jax.pmap(
            _scanned(make(DATA), steps),
            axis_name=DATA,
            in_axes=(0, 0 if steps == 1 else 1),
            devices=jax.devices()[: self.devices],
            donate_argnums=0,
        )

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
        """`[b, ...]` to `[devices, b / devices, ...]`, behind the axis of steps where there is one."""
        axis = _rows_axis(batch)
        self.check(batch.shape[axis])
        return batch.reshape(*batch.shape[:axis], self.devices, -1, *batch.shape[axis + 1 :])


class _OnMesh:
    """The `train.step.Layout` of a mesh: constraints on where arrays lie, which XLA turns into messages."""

    def __init__(self, mesh: DeviceMesh, least_bytes: int):
        self.mesh, self.least_bytes = mesh, least_bytes

    def sharding(self, leaf: Any) -> NamedSharding:
        """Along the largest axis that the fsdp devices divide; a copy on each where there is none."""
        shape, parts = np.shape(leaf), self.mesh.shape[FSDP]
        axes = [axis for axis, size in enumerate(shape) if size % parts == 0]
        small = math.prod(shape) * _itemsize(leaf) < self.least_bytes
        if parts == 1 or small or not axes:
            return NamedSharding(self.mesh, PartitionSpec())
        along = max(axes, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * along, FSDP))

    def whole(self, tree: PyTree) -> PyTree:
        copied = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, copied), tree)

    def cut(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, self.sharding(leaf)), tree)

    def rows(self, tree: PyTree, axis: int = 0) -> PyTree:
        divided = NamedSharding(self.mesh, _rows(axis))
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, divided), tree)


def _scanned(step: StepFn, steps: int) -> StepFn:
    """`steps` steps in one: the state goes through them, batches and metrics have a leading axis."""
    if steps < 1:
        raise ValueError(f"A dispatch runs 1 step or more, not {steps}.")
    if steps == 1:
        return step
    return lambda state, batches: jax.lax.scan(step, state, batches, length=steps)


def _rows(axis: int) -> PartitionSpec:
    return PartitionSpec(*[None] * axis, (DATA, FSDP))


def _rows_axis(batch: np.ndarray) -> int:
    """Where a batch `b h w c`, or `steps b h w c`, counts its examples."""
    return max(0, batch.ndim - 4)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _itemsize(leaf: Any) -> int:
    return np.dtype(np.uint32).itemsize if _is_key(leaf) else np.dtype(leaf.dtype).itemsize


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """The leaf laid out so; over several processes each takes its parts of its own copy, and nothing is sent."""
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if _is_key(leaf):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    host = np.asarray(_on_host(leaf))
    return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def _on_host(leaf: Any) -> Any:
    """The leaf as NumPy's; a key stays one, on the first device of this process."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(
            jnp.asarray(_on_host(jax.random.key_data(leaf))), impl=jax.random.key_impl(leaf)
        )
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return np.asarray(leaf)
    if leaf.is_fully_replicated:
        return np.asarray(leaf.addressable_data(0))
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


EXAMPLES = (
    {"name": "train.parallel.Single"},
    {"name": "train.parallel.Mesh"},
    {"name": "train.parallel.Mesh", "data": 0, "fsdp": 1, "least_bytes": 0},
    {"name": "train.parallel.Pmap"},
)
