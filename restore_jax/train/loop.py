"""The loop: config -> data, degradation, method, optimiser -> state, state, state.

    state = train(config, workdir)

The same call goes on where a run of the same config stopped, from its newest checkpoint, bit for bit.
"""

import dataclasses
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.build import SpecError, build, did_you_mean
from restore_jax.core import Method, PyTree, TrainState
from restore_jax.data.pipeline import Pipeline, to_float
from restore_jax.methods.adopt import adopt
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.checkpoint import Checkpoints, read
from restore_jax.train.ema import HalfLife
from restore_jax.train.log import RunLog
from restore_jax.train.step import create_state, make_step


@dataclass(frozen=True)
class Config:
    """Everything a run is. `configs/*.py` write it as a dict; numbers of images, not of steps, set its lengths."""

    train_set: dict[str, Any]
    degrade: dict[str, Any]
    method: dict[str, Any]
    heldout_set: dict[str, Any] | None = None
    optim: dict[str, Any] = field(default_factory=lambda: {"name": "train.optim.AdamW"})
    parallel: dict[str, Any] = field(default_factory=lambda: {"name": "train.parallel.Single"})
    label: str = "train"
    seed: int = 0
    images: int = 100_000
    batch_size: int = 16
    crop_px: int = 128
    ema_half_life_images: int = 5_000
    ema: dict[str, Any] | None = None  # another average than train.ema.HalfLife(ema_half_life_images)
    snapshots: dict[str, Any] | None = None  # train.ema.Snapshots: averages to be made afterwards
    start: str = ""  # a workdir whose averaged parameters this run starts from
    teacher: str = ""  # a workdir whose averaged parameters become state.frozen["teacher"]
    log_every_images: int = 1_000
    checkpoint_every_images: int = 10_000
    preview_every_images: int = 10_000
    keep: int = 2

    @classmethod
    def parse(cls, config: Any) -> "Config":
        """From a dict or ConfigDict, with unknown and ill-typed fields refused by name."""
        if isinstance(config, cls):
            return config
        fields = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        known = cls.__dataclass_fields__
        for name, value in fields.items():
            if name not in known:
                raise SpecError(f"config has no field {name!r}.{did_you_mean(name, known)}")
            if known[name].type in ("int", int) and (not isinstance(value, int) or isinstance(value, bool)):
                raise SpecError(f"config.{name} is a whole number, not {value!r}.")
        return cls(**fields)


def train(config: Mapping[str, Any] | Config, workdir: str | Path) -> TrainState:
    """Trains, or goes on training, in `workdir` until `config.images` photographs have been seen.

    Ctrl-C and SIGTERM finish the step, save, and raise `Interrupted`; a second Ctrl-C stops at once.
    """
    config = Config.parse(config)
    method: Method = build(config.method, "config.method")
    degrade = build(config.degrade, "config.degrade")
    parallel = build(config.parallel, "config.parallel")
    optimizer = build(config.optim, "config.optim").transform(config.batch_size, config.images)
    average = build(config.ema, "config.ema") if config.ema else HalfLife(config.ema_half_life_images)
    snapshots = build(config.snapshots, "config.snapshots") if config.snapshots else None
    pipeline = Pipeline(
        build(config.train_set, "config.train_set"),
        config.batch_size,
        config.crop_px,
        config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    steps = config.images // config.batch_size
    every = lambda images: max(1, images // config.batch_size)  # noqa: E731

    with Checkpoints(workdir, vars(config), config.keep) as checkpoints:
        frozen = {"teacher": averaged(config.teacher)} if config.teacher else {}
        shape = (config.crop_px, config.crop_px, 3)
        state = create_state(method, degrade, optimizer, jax.random.key(config.seed), shape, frozen)
        iterator = pipeline.iterator()
        if config.start and checkpoints.latest is None:
            state = _starting_from(state, method, averaged(config.start), config.start)
        if snapshots:
            state = snapshots.begin(state)
        if checkpoints.latest is not None:
            state = checkpoints.restore(state, iterator)
        begin = int(state.step)
        if begin >= steps:
            return state
        run = parallel.compile(lambda axis: make_step(method, degrade, optimizer, average, axis))
        preview = _Preview(config, method, degrade)
        state = parallel.place(state)
        with RunLog(workdir, config.label, config.images, config.batch_size, begin) as log, _Stop() as stop:
            if begin:
                log.say(f"{config.label}: going on from step {begin} of {steps}.")
            since, waiting = time.monotonic(), None
            for step in range(begin + 1, steps + 1):
                state, metrics = run(state, parallel.shard(next(iterator)))
                jax.block_until_ready(waiting)  # one step is in flight, and no more
                waiting = metrics
                log.tick()
                if step % every(config.log_every_images) == 0 or step == steps:
                    values = {name: float(value) for name, value in metrics.items()}
                    if not np.isfinite(values["loss"]):
                        raise FloatingPointError(
                            f"The loss is {values['loss']} at step {step}: lower the learning rate."
                        )
                    log.row(step, values)
                if step % every(config.preview_every_images) == 0 or step == steps:
                    psnr, grid = preview(parallel.whole(state).ema)
                    log.row(step, {"heldout_psnr": psnr})
                    log.pictures(step, "y | x_hat | x", grid)
                if snapshots and (step % every(snapshots.every_images) == 0 or step == steps):
                    snapshots.write(workdir, parallel.whole(state))
                if step % every(config.checkpoint_every_images) == 0 or step == steps or stop.asked:
                    checkpoints.save(parallel.whole(state), iterator)
                if stop.asked and step < steps:
                    minutes = (time.monotonic() - since) / 60
                    raise Interrupted(
                        f"{config.label}: stopped and saved at step {step} of {steps} after {minutes:.1f} minutes. "
                        "The same command goes on from here."
                    )
        return parallel.whole(state)


class Interrupted(SystemExit):
    """The run was asked to stop and has saved; exit status 0."""

    def __init__(self, message: str):
        super().__init__(0)
        self.message = message

    def __str__(self) -> str:
        return self.message


def averaged(workdir: str | Path) -> PyTree:
    """The averaged parameters of another run's newest checkpoint."""
    _, state, _ = read(workdir)
    return jax.tree.map(jnp.asarray, state["ema"])


def _starting_from(state: TrainState, method: Method, theirs: PyTree, where: str) -> TrainState:
    """The state with another run's parameters, by the method's own rule of `adopt` where it has one."""
    try:
        params = getattr(method, "adopt", adopt)(state.params, theirs)
    except SpecError as error:
        raise SpecError(f"config.start = {where!r} holds another network than config.method: {error}") from error
    # Two players may have started at one array, and a step's buffers are given away one by one: each gets its own.
    return dataclasses.replace(state, params=jax.tree.map(jnp.copy, params), ema=jax.tree.map(jnp.copy, params))


class _Preview:
    """Four held-out crops, the same at every step: their PSNR, and `y | x_hat | x` as one picture."""

    def __init__(self, config: Config, method: Method, degrade: Any):
        source = build(config.heldout_set or config.train_set, "config.heldout_set")
        self.x = to_float(Pipeline(source, 4, config.crop_px, seed=1, augment=False)[0])
        self.obs = jax.vmap(degrade)(jax.random.split(jax.random.key(1), 4), self.x)
        self.keys = jax.random.split(jax.random.key(2), 4)
        self._restore = jax.jit(lambda params, keys, obs: method.restorer(params)(keys, obs))

    def __call__(self, params: PyTree) -> tuple[float, np.ndarray]:
        x_hat = jnp.clip(self._restore(params, self.keys, self.obs), 0, 1)
        repeat = self.x.shape[1] // self.obs.y.shape[1]
        y = jnp.repeat(jnp.repeat(self.obs.y, repeat, axis=1), repeat, axis=2)
        grid = jnp.concatenate([jnp.concatenate(list(row), axis=0) for row in (y, x_hat, self.x)], axis=1)
        return float(jnp.mean(Psnr()(x_hat, self.x))), np.asarray(grid)


class _Stop:
    """While entered, the first SIGINT or SIGTERM asks; the second is obeyed at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "_Stop":
        self._before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread (a notebook's worker): signals go where they went
                break
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
