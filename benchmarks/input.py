"""What real data costs a training step: the step fed by the pipeline beside the same step on one fixed batch.

    python -m benchmarks.input

The step, shapes and photographs of `configs/regression.py`. Turns of a few steps on the fixed batch and of as many on
the pipeline's batches alternate in one process, so that both see the same machine; a ratio is that of neighbouring
turns, and the figure their median. Each arrangement of the input is measured so. Writes `results/input.json`.
"""

import argparse
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.record import record
from configs.regression import get_config
from restore_jax.build import build
from restore_jax.cpu import prepare
from restore_jax.data.ahead import Ahead
from restore_jax.data.cache import Cached
from restore_jax.data.pipeline import Pipeline
from restore_jax.train.ema import HalfLife
from restore_jax.train.step import create_state, make_step

CLOCKS = ("wall", "cpu")
PROTOCOL = (
    "configs/regression.py: step time with the pipeline's batches over step time with one batch that stays on the "
    "device, turns of {steps} steps interleaved, median over {turns} pairs of turns; the network's step is the same "
    "compiled program for both."
)


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8, help="of a turn")
    parser.add_argument("--all", action="store_true", help="also arrangements that nobody should need")
    parser.add_argument("--batch-size", type=int, default=0, help="another than the config's")
    args = parser.parse_args()
    prepare()
    config = get_config().to_dict()
    batch_size = args.batch_size or config["batch_size"]
    step, state, source = _training(config, batch_size)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def pipeline(workers: int, **fields: Any) -> Iterator[Any]:
            made = Pipeline(fields.pop("source", source), batch_size, config["crop_px"], workers=workers, **fields)
            iterator = made.iterator()
            stack.callback(iterator.close)
            return iterator

        def ahead(*given: Any, **fields: Any) -> Iterator[Any]:
            return stack.enter_context(Ahead(pipeline(*given, **fields), jnp.asarray))

        arrangements = {
            "ahead": ahead(0),
            "ahead, decoded on disk": ahead(0, source=Cached(source, folder), cache_mb=0),
            "2 workers": map(jnp.asarray, pipeline(2)),
        }
        if args.all:
            arrangements |= {
                "in the loop's thread": map(jnp.asarray, pipeline(0)),
                "1 worker": map(jnp.asarray, pipeline(1)),
                "ahead, 1 worker": ahead(1),
                "ahead, 2 workers": ahead(2),
                "ahead, decoded each time": ahead(0, cache_mb=0),
            }
        ratios, fixed = _interleaved(step, state, arrangements, args.turns, args.steps)
        making = _batch_ms(Pipeline(source, batch_size, config["crop_px"]))
    overhead = {
        name: {clock: round(statistics.median(ratio[i] for ratio in turns), 4) for i, clock in enumerate(CLOCKS)}
        for name, turns in ratios.items()
    }
    figures = {
        "data_overhead": overhead["ahead"]["wall"],
        "by_arrangement": overhead,
        "fixed_step_ms": {clock: round(1000 * time, 2) for clock, time in zip(CLOCKS, fixed, strict=True)},
        "batch_cpu_ms": round(making, 3),
        "batch_size": batch_size,
    }
    record("input", figures, PROTOCOL.format(steps=args.steps, turns=args.turns))


def _training(config: dict[str, Any], batch_size: int) -> tuple[Callable, Any, Any]:
    """The compiled step, its first state and the photographs of a config."""
    method, degrade = build(config["method"]), build(config["degrade"])
    optimizer = build(config["optim"]).transform(batch_size, config["images"])
    shape = (config["crop_px"], config["crop_px"], 3)
    state = create_state(method, degrade, optimizer, jax.random.key(0), shape, {})
    average = HalfLife(config["ema_half_life_images"])
    step = jax.jit(make_step(method, degrade, optimizer, average), donate_argnums=0)
    return step, state, build(config["train_set"])


def _interleaved(
    step: Callable, state: Any, arrangements: dict[str, Iterator[Any]], turns: int, steps: int
) -> tuple[dict[str, list[np.ndarray]], np.ndarray]:
    """Ratio of each arrangement's turns to the mean of the fixed turns before and after; the fixed step's seconds.

    Each by two clocks: the wall's, and the processor time of all threads, which other programs disturb less.
    """
    same = itertools.repeat(jax.block_until_ready(next(next(iter(arrangements.values())))))
    ratios: dict[str, list[np.ndarray]] = {name: [] for name in arrangements}
    times = []

    def turn(state: Any, batches: Iterator[Any]) -> tuple[Any, np.ndarray]:
        start, waiting = _clocks(), None
        for _ in range(steps):
            state, metrics = step(state, next(batches))
            jax.block_until_ready(waiting)  # as the loop does: one step is in flight
            waiting = metrics
        jax.block_until_ready(waiting)
        return state, _clocks() - start

    for batches in (same, *arrangements.values()):  # compile, decode, start the threads
        state, _ = turn(state, batches)
    for _ in tqdm(range(turns), "turns"):
        state, before = turn(state, same)
        for name, batches in arrangements.items():
            state, taken = turn(state, batches)
            state, after = turn(state, same)
            ratios[name].append(2 * taken / (before + after))
            times.append(after / steps)
            before = after
    return ratios, np.median(times, axis=0)


def _clocks() -> np.ndarray:
    return np.asarray([time.perf_counter(), time.process_time()])


def _batch_ms(pipeline: Pipeline, batches: int = 100) -> float:
    """Processor time of one batch, photographs decoded, by one thread."""
    for step in range(50):
        pipeline[step]
    start = time.thread_time()
    for step in range(50, 50 + batches):
        pipeline[step]
    return 1000 * (time.thread_time() - start) / batches


if __name__ == "__main__":
    main()
