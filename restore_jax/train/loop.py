"""The loop: config -> data, degradation, method, optimiser -> state, state, state.

    state = train(config, workdir)

The same call goes on where a run of the same config stopped, from its newest good checkpoint, bit for bit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from restore_jax.core import TrainState
from restore_jax.train import integrity
from restore_jax.train.checkpoint import Checkpoints
from restore_jax.train.config import Config
from restore_jax.train.feed import Feed
from restore_jax.train.lineage import seen_before
from restore_jax.train.parts import Parts
from restore_jax.train.preview import Preview
from restore_jax.train.processes import agree, is_writer
from restore_jax.train.profile import Profile
from restore_jax.train.record import Record
from restore_jax.train.rollback import Diverged, Rollbacks
from restore_jax.train.spikes import SpikeLog
from restore_jax.train.stop import Interrupted, Stop
from restore_jax.train.window import Window

AWAITED = 2  # dispatches that may be with the device at once: the host prepares the next while it works


def train(
    config: Mapping[str, Any] | Config, workdir: str | Path, *, profile: int = 0, migrate: bool = False
) -> TrainState:
    """Trains, or goes on training, in `workdir` until `config.images` photographs have been seen.

    The host hands the device `steps_per_dispatch` steps at a time and reads what they logged when a row is due.
    Ctrl-C, SIGTERM and a cluster's notice finish the dispatch, save, and raise `Interrupted`; a second Ctrl-C stops at
    once. `profile` traces so many dispatches into WORKDIR/profile; `migrate` takes what fits of a checkpoint of another
    layout.

    Raises:
        SpecError, ValueError: the config, or what it asks of this machine; before the first step.
        CheckpointError: the workdir is another run's, or cannot be written to.
        Diverged: the first step is not finite already, or `config.guard` has gone back as often as it may.
    """
    config = Config.parse(config)
    parts = Parts.of(config)
    with Record(workdir, is_writer()) as record:
        return _Run(config, parts, Path(workdir), record).to_the_end(profile, migrate)


class _Run:
    """One start of a run: what the loop's steps share."""

    def __init__(self, config: Config, parts: Parts, workdir: Path, record: Record):
        self.config, self.parts, self.workdir, self.record = config, parts, workdir, record
        self.writes = is_writer()
        self.rollbacks = Rollbacks(workdir, parts.rule, self.writes)
        self.spikes = SpikeLog(workdir, parts.spikes, parts.pipeline, parts.degrade, config.seed, writes=self.writes)
        self.window = Window(self.spikes)

    def to_the_end(self, profile: int, migrate: bool) -> TrainState:
        config, parts, k = self.config, self.parts, self.config.steps_per_dispatch
        checkpoints = Checkpoints(self.workdir, vars(config), parts.retain, config.batch_size, tqdm.write, migrate)
        feed = Feed(parts.pipeline.iterator, parts.parallel.shard, config.prefetch, self.window)
        with checkpoints, feed:
            self.checkpoints, self.feed = checkpoints, feed
            state, step = parts.begin(checkpoints, feed, self.rollbacks)
            if step >= config.steps:
                return parts.parallel.whole(state)
            checkpoints.room_for(state)
            self.record.start(lambda: seen_before(self.config.start))
            self.spikes.resume(step, self.rollbacks.count)
            self.preview, rates = Preview(config, parts.method, parts.degrade), parts.rates()
            log = parts.log(self.workdir, step, self.writes)
            with log, Stop() as stop, Profile(self.workdir, profile, log.say) as trace:
                self.log = log
                if step:
                    log.say(f"{config.label}: going on from step {step} of {config.steps}.")
                awaited: list[Any] = []
                while step < config.steps:
                    before, step = step, min(config.steps, (step // k + 1) * k)
                    state, metrics = parts.dispatch(step - before)(state, feed.take(step - before))
                    self.window.add(before + 1, metrics)
                    awaited = [*awaited, metrics][-AWAITED:]
                    jax.block_until_ready(awaited[0])
                    trace.after(metrics)
                    log.tick(step - before)
                    if not self.record.clocked:
                        self._first_answer(before, step, metrics)
                    if config.due(config.log_every_images, before, step):
                        self.window.settle()
                        log.say_some(self.window.said.values())
                        log.row(step, self.window.row() | rates(step, self.rollbacks.rate))
                        if why := self.rollbacks.reason(log.rows[-1000:]):
                            state, step = self._back(why, step)
                            continue
                    self._leave_behind(state, before, step, stop.check(step))
            return parts.parallel.whole(state)

    def _back(self, why: str, found: int) -> tuple[TrainState, int]:
        """The run from a good checkpoint on, at a lower rate."""
        self.checkpoints.wait()
        agree(True)  # all processes have waited: the same checkpoints are there for each
        target = self.rollbacks.target(self.log.rows, integrity.steps(self.checkpoints.directory))
        self.log.say(f"{self.config.label}: {self.rollbacks.note(why, found, target)}")
        self.checkpoints.drop_after(target)
        state, step = self.parts.begin(self.checkpoints, self.feed, self.rollbacks)
        self.log.rewind(step)
        self.spikes.attempt = self.rollbacks.count
        return state, step

    def _first_answer(self, before: int, step: int, metrics: Any) -> None:
        """The clock starts when the first dispatch is done; a run whose very first step is not finite ends there."""
        jax.block_until_ready(metrics)
        self.record.begin(step * self.config.batch_size)
        if before == 0:
            self.window.settle()
            if 1 in self.window.said:
                raise Diverged(f"{self.window.said[1]} Nothing has been learned yet: {self.spikes.blame(1)}")

    def _leave_behind(self, state: TrainState, before: int, step: int, asked: str) -> None:
        """What is due at a step: preview, snapshots, a checkpoint; and the end, where the run is asked to stop."""
        config, parts, values = self.config, self.parts, {}
        saves = bool(asked) or config.due(config.checkpoint_every_images, before, step)
        shown = config.due(config.preview_every_images, before, step)
        if shown or (saves and parts.retain.best):
            only = state.replace(params={}, opt_state={}, frozen={}, aux={})  # nothing else need be gathered
            psnr, grid = self.preview(parts.parallel.whole(only).ema)
            values = {"heldout_psnr": psnr}
            if shown:
                self.log.row(step, values)
                self.log.pictures(step, "y | x_hat | x", grid)
        if parts.snapshots and config.due(parts.snapshots.every_images, before, step):
            whole = parts.parallel.whole(state)
            if self.writes:
                parts.snapshots.write(self.workdir, whole)
        if saves:
            kept = parts.parallel.whole(state) if parts.parallel.saves_whole else state
            self.checkpoints.save(kept, self.feed, values)
            self.record.reached(step * config.batch_size)
        if asked and step < config.steps:
            self.checkpoints.wait()
            raise Interrupted(
                f"{config.label}: stopped by {asked} and saved at step {step} of {config.steps} "
                f"after {self.record.minutes:.1f} minutes. The same command goes on from here."
            )
