"""One training step: photographs in, parameters moved. Everything random is drawn an example at a time."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, UInt8

from restore_jax.core import Degradation, Method, PyTree, TrainState, split
from restore_jax.data.pipeline import to_float
from restore_jax.train.ema import Average, HalfLife, follow, follow_tracks

StepFn = Callable[[TrainState, UInt8[Array, "b h w c"]], tuple[TrainState, dict[str, Float[Array, ""]]]]


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
    axis: str | None = None,
) -> StepFn:
    """The step for one device, or, with `axis`, for its share of the batch in a mapped computation.

    `obs = degrade(x)`, the method's loss and gradient, the optimiser, the average. The key of example i
    of step k is `fold_in(fold_in(state.key, k), i)` with i counted over the whole batch: how the batch is
    cut over devices changes nothing but the order of sums. `average` is what `state.ema` is; a number is a
    `HalfLife` of so many images. Averages in aux["ema_tracks"] are followed too (`train.ema.Snapshots`).
    """
    average = HalfLife(average) if isinstance(average, int) else average

    def step(state: TrainState, images: UInt8[Array, "b h w c"]) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        x = to_float(images)
        index = jnp.arange(x.shape[0])
        devices = 1
        if axis is not None:
            index = index + jax.lax.axis_index(axis) * x.shape[0]
            devices = jax.lax.axis_size(axis)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(state.key, state.step), index)
        key_degrade, key_loss = split(keys)
        obs = jax.vmap(degrade)(key_degrade, x)

        (loss, metrics), grads = jax.value_and_grad(method.loss, has_aux=True)(state.params, state, obs, x, key_loss)
        metrics = {"loss": loss, **metrics}
        if axis is not None:
            grads, metrics = jax.lax.pmean((grads, metrics), axis)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = follow(state.ema, params, average.decay(state.step, x.shape[0] * devices))
        aux = follow_tracks(state.aux, state.step, params)
        metrics["grad_norm"] = optax.tree.norm(grads)
        moved = {"params": params, "ema": ema, "opt_state": opt_state, "aux": aux}
        return dataclasses.replace(state, step=state.step + 1, **moved), metrics

    return step
