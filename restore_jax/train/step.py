"""One training step: photographs in, parameters moved. Everything random is drawn an example at a time."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, UInt8

from restore_jax.core import Degradation, Method, PyTree, TrainState, split
from restore_jax.data.pipeline import to_float
from restore_jax.train.ema import Average, HalfLife, follow, follow_tracks
from restore_jax.train.precision import rematerialised

Metrics = dict[str, Float[Array, ""]]
StepFn = Callable[[TrainState, UInt8[Array, "b h w c"]], tuple[TrainState, Metrics]]


@runtime_checkable
class Layout(Protocol):
    """Where a step's arrays lie on a mesh; each method changes the place of its arrays, and no number."""

    def whole(self, tree: PyTree) -> PyTree:
        """A copy on each device: what a loss computes with."""
        ...

    def cut(self, tree: PyTree) -> PyTree:
        """As the state is kept, each leaf cut along one of its axes, or copied."""
        ...

    def rows(self, tree: PyTree, axis: int = 0) -> PyTree:
        """Examples, counted along `axis`, divided among the devices."""
        ...


def create_state(
    method: Method,
    degrade: Degradation,
    optimizer: optax.GradientTransformation,
    key: Array,
    image_shape: tuple[int, int, int],
    frozen: PyTree | None = None,
) -> TrainState:
    """A fresh state for pictures of `image_shape`; the EMA starts at the parameters."""
    key_init, key_degrade, key_run = jax.random.split(key, 3)

    @jax.jit  # one program instead of one for each shape of parameter
    def fresh() -> tuple[PyTree, PyTree, PyTree]:
        x = jnp.full((1, *image_shape), 0.5)
        params = method.init(key_init, jax.vmap(degrade)(jax.random.split(key_degrade, 1), x), x)
        return params, jax.tree.map(jnp.copy, params), optimizer.init(params)

    params, ema, opt_state = fresh()
    step = jnp.zeros((), jnp.int32)
    return TrainState(step=step, params=params, ema=ema, opt_state=opt_state, key=key_run, frozen=frozen or {})


def make_step(
    method: Method,
    degrade: Degradation,
    optimizer: optax.GradientTransformation,
    average: Average | int,
    axis: str | Layout | None = None,
    *,
    accumulate: int = 1,
    skip_nonfinite: bool = True,
    remat: str = "none",
) -> StepFn:
    """The step for one device, for its share of the batch in a mapped computation, or for a mesh.

    `obs = degrade(x)`, the method's loss and gradient, the optimiser, the average. The key of example i
    of step k is `fold_in(fold_in(state.key, k), i)` with i counted over the whole batch: how the batch is
    cut over devices or in time changes nothing but the order of sums. `average` is what `state.ema` is; a number is a
    `HalfLife` of so many images. Averages in aux["ema_tracks"] are followed too (`train.ema.Snapshots`).

    `axis` is None, the name of a mapped axis (`train.parallel.Pmap`), or the `Layout` of a mesh.

    `accumulate` parts of the batch are taken one after the other, every `accumulate`-th example in one, and their
    gradients averaged: the memory is that of a part, the update that of the whole batch, to rounding. That holds for a
    loss that is a mean over examples. One that couples them (relativistic averages of `methods.rivalry`, statistics of
    a batch) sees a part at a time, and so do mapped devices; a mesh sees the whole batch.

    `skip_nonfinite`: where the loss or the gradient's norm is not finite, nothing moves but `state.step`, so that the
    next step draws anew; metrics["skipped"] is then 1, else 0. One player's bad number skips both. The state's old
    numbers are chosen on the device: the host hears of it when it reads the metrics.

    aux["rate"], a number where there is one, multiplies the optimiser's updates. `remat` is that of
    `train.precision.rematerialised`. Metrics are float32, the mean over parts and devices.

    Raises:
        ValueError: `accumulate` below 1 or not a divisor of the batch; an unknown `remat`.
    """
    average = HalfLife(average) if isinstance(average, int) else average
    layout = axis if isinstance(axis, Layout) else _Here()
    mapped = axis if isinstance(axis, str) else None
    if accumulate < 1:
        raise ValueError(f"make_step.accumulate must be 1 or above, not {accumulate}.")

    def loss(params: PyTree, *given: Any) -> tuple[Float[Array, ""], Metrics]:
        with rematerialised(remat):
            return method.loss(params, *given)

    def gradient(view: TrainState, images: Array, keys: Array) -> tuple[PyTree, Metrics]:
        """The gradient of one part, as the state is cut, and its metrics."""
        x = to_float(images)
        key_degrade, key_loss = split(keys)
        obs = jax.vmap(degrade)(key_degrade, x)
        (value, logged), grads = jax.value_and_grad(loss, has_aux=True)(view.params, view, obs, x, key_loss)
        logged = {"loss": value, **logged}
        return layout.cut(grads), {name: jnp.asarray(number, jnp.float32) for name, number in logged.items()}

    def step(state: TrainState, images: UInt8[Array, "b h w c"]) -> tuple[TrainState, Metrics]:
        b = images.shape[0]
        if b % accumulate:
            raise ValueError(f"make_step.accumulate must divide the batch of a device, {b}, and is {accumulate}.")
        index, devices = jnp.arange(b), 1
        if mapped is not None:
            index = index + jax.lax.axis_index(mapped) * b
            devices = jax.lax.axis_size(mapped)
        keys = layout.rows(jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(state.key, state.step), index))
        # What a loss may look at besides its parameters is whole there too: averages, teachers.
        seen = {name: layout.whole(getattr(state, name)) for name in ("params", "ema", "frozen", "aux")}
        view = dataclasses.replace(state, **seen)

        if accumulate == 1:
            grads, metrics = gradient(view, images, keys)
        else:

            def add(total: PyTree, one: tuple[Array, Array]) -> tuple[PyTree, Metrics]:
                grads, metrics = gradient(view, *one)
                return jax.tree.map(jnp.add, total, grads), metrics

            # Every accumulate-th example: consecutive ones lie on one device, which would work while the others wait.
            parts = [a.reshape(b // accumulate, accumulate, *a.shape[1:]).swapaxes(0, 1) for a in (images, keys)]
            zeros = layout.cut(jax.tree.map(jnp.zeros_like, state.params))
            total, each = jax.lax.scan(add, zeros, tuple(layout.rows(parts, axis=1)))
            grads = jax.tree.map(lambda g: g / accumulate, total)
            metrics = jax.tree.map(lambda m: jnp.mean(m, axis=0), each)
        if mapped is not None:
            grads, metrics = jax.lax.pmean((grads, metrics), mapped)
        metrics["grad_norm"] = optax.tree.norm(grads).astype(jnp.float32)

        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        if "rate" in state.aux:
            updates = jax.tree.map(lambda u: u * state.aux["rate"].astype(u.dtype), updates)
        params = optax.apply_updates(state.params, updates)
        ema = follow(state.ema, params, average.decay(state.step, b * devices))
        aux = follow_tracks(state.aux, state.step, params)
        moved = {"params": params, "ema": ema, "opt_state": opt_state, "aux": aux}
        skipped = jnp.zeros((), jnp.float32)
        if skip_nonfinite:
            good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
            kept = {name: getattr(state, name) for name in moved}
            moved = jax.tree.map(lambda new, old: jnp.where(good, new, old), moved, kept)
            skipped = 1.0 - good.astype(jnp.float32)
        return dataclasses.replace(state, step=state.step + 1, **moved), {**metrics, "skipped": skipped}

    return step


class _Here:
    """The layout of one device, or of one among mapped ones: everything is where it should be."""

    def whole(self, tree: PyTree) -> PyTree:
        return tree

    def cut(self, tree: PyTree) -> PyTree:
        return tree

    def rows(self, tree: PyTree, axis: int = 0) -> PyTree:
        return tree
