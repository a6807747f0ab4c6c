"""`Parts`: what a config describes, built: data, degradation, method, optimiser, and the step that they make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from restore_jax.build import build
from restore_jax.core import Degradation, Method, TrainState
from restore_jax.data.pipeline import Pipeline
from restore_jax.train.checkpoint import Checkpoints
from restore_jax.train.config import Config
from restore_jax.train.ema import Average, HalfLife, Snapshots
from restore_jax.train.feed import Feed
from restore_jax.train.guard import Rule
from restore_jax.train.log import RunLog
from restore_jax.train.optim import rates
from restore_jax.train.retain import Retain
from restore_jax.train.rollback import Rollbacks
from restore_jax.train.spikes import Spikes
from restore_jax.train.start import averaged, starting_from
from restore_jax.train.step import create_state, make_step
from restore_jax.train.trackers import Tracker


@dataclass(frozen=True, eq=False)
class Parts:
    """The members of a run; `of` builds them and refuses what does not fit before anything is computed.

    Raises:
        SpecError: a spec that cannot be built.
        ValueError: a batch that does not divide over devices, processes or parts; a crop larger than every photograph.
    """

    config: Config
    method: Method
    lowered: Method  # the method as its loss is computed, in the precision asked for
    degrade: Degradation
    optimizer: optax.GradientTransformation
    average: Average
    snapshots: Snapshots | None
    parallel: Any
    pipeline: Pipeline
    retain: Retain
    rule: Rule | None
    spikes: Spikes
    trackers: tuple[Tracker, ...]
    _compiled: dict[int, Callable] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> "Parts":
        """Everything that the config names."""
        parallel = build(config.parallel, "config.parallel")
        parallel.check(config.batch_size, config.accumulate)
        method = build(config.method, "config.method")
        precision = build(config.precision, "config.precision") if config.precision else None
        return cls(
            config=config,
            method=method,
            lowered=precision.on(method) if precision else method,
            degrade=build(config.degrade, "config.degrade"),
            optimizer=build(config.optim, "config.optim").transform(config.batch_size, config.images),
            average=build(config.ema, "config.ema") if config.ema else HalfLife(config.ema_half_life_images),
            snapshots=build(config.snapshots, "config.snapshots") if config.snapshots else None,
            parallel=parallel,
            pipeline=Pipeline(
                build(config.train_set, "config.train_set"),
                config.batch_size,
                config.crop_px,
                config.seed,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            ),
            retain=build(config.retain, "config.retain"),
            rule=build(config.guard, "config.guard") if config.guard else None,
            spikes=build(config.spikes, "config.spikes"),
            trackers=tuple(build(config.trackers, "config.trackers")),
        )

    def layout(self) -> TrainState:
        """A fresh state, which a checkpoint is read into: everything that it has, and its own parameters."""
        config = self.config
        frozen = {"teacher": averaged(config.teacher)} if config.teacher else {}
        shape = (config.crop_px, config.crop_px, 3)
        key = jax.random.key(config.seed)
        state = create_state(self.method, self.degrade, self.optimizer, key, shape, frozen)
        if self.snapshots:
            state = self.snapshots.begin(state)
        told = {"rate": jnp.ones((), jnp.float32), "rollbacks": jnp.zeros((), jnp.int32)}  # see train.rollback
        return state.replace(aux={**state.aux, **told})

    def fresh(self) -> TrainState:
        """The state that a run begins with, from the parameters of `config.start` where there is one."""
        state = self.layout()
        if not self.config.start:
            return state
        state = starting_from(state, self.method, self.config.start)
        return self.snapshots.begin(state) if self.snapshots else state

    def dispatch(self, steps: int) -> Callable[[TrainState, Any], tuple[TrainState, Any]]:
        """What makes so many steps in one; compiled at its first use."""
        if steps not in self._compiled:
            self._compiled[steps] = self.parallel.compile(self._step, steps)
        return self._compiled[steps]

    def begin(self, checkpoints: Checkpoints, feed: Feed, rollbacks: Rollbacks) -> tuple[TrainState, int]:
        """The state of the newest good checkpoint, or the first one, on its devices; and its step. `feed` follows."""
        if checkpoints.latest is None:
            feed.rewind()
            state = self.fresh()
        else:
            like = self.layout()
            like = like if self.parallel.saves_whole else self.parallel.place(like)
            state = checkpoints.restore(like, feed)
        step = int(state.step)
        return self.parallel.place(rollbacks.remembered(state)), step

    def log(self, workdir: str | Path, step: int, writes: bool) -> RunLog:
        """The log of the run, from a step on."""
        config = self.config
        told = {"trackers": self.trackers, "config": vars(config), "writes": writes}
        return RunLog(workdir, config.label, config.images, config.batch_size, step, **told)

    def rates(self) -> Callable[[int, float], dict[str, float]]:
        """(step, factor) -> the learning rates of that step by their schedules, by name, times the factor."""
        config = self.config
        schedules = rates(build(config.optim, "config.optim"), config.batch_size, config.images)
        at = jax.jit(lambda step: {name: jnp.asarray(one(step), jnp.float32) for name, one in schedules.items()})
        return lambda step, by: {name: by * float(value) for name, value in at(np.int32(step - 1)).items()}

    def _step(self, axis: Any) -> Callable:
        config = self.config
        made = {"accumulate": config.accumulate, "remat": config.remat}
        return make_step(self.lowered, self.degrade, self.optimizer, self.average, axis, **made)
