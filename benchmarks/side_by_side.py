"""The clock of two or three ways to do one thing: turns in one process, and ratios of neighbouring turns.

Rounds alternate A B C A B C: a pause, in which OpenMP's threads stop spinning for more work and leave ours their core,
a call to warm up, then calls for about a third of a second, whose mean is the round's figure. What comes out are
medians over the rounds, and the medians of the ratios of neighbouring rounds.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

THREADS, ROUNDS, ROUND_S, PAUSE_S = 2, 7, 0.3, 0.05


def interleaved(sides: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each side, and the median of the ratios of the first to each other one, A B C A B C."""

    def seconds(function: Callable[[], Any], calls: int) -> float:
        time.sleep(PAUSE_S)
        function()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - start) / calls

    calls = {side: max(1, round(ROUND_S / max(seconds(function, 1), 1e-4))) for side, function in sides.items()}
    table = [{side: seconds(function, calls[side]) for side, function in sides.items()} for _ in range(rounds)]
    first, *others = sides
    medians = {side: statistics.median(row[side] for row in table) for side in sides}
    return medians, {side: statistics.median(row[first] / row[side] for row in table) for side in others}


def difference(ours: Any, theirs: Any) -> float:
    """The largest, over the largest value."""
    ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def must_agree(what: str, error: float, bound: float) -> None:
    """Stops if the two sides do not compute the same."""
    if not error < bound:
        raise SystemExit(f"{what}: the two sides differ by {error:.1e}, more than {bound:g}.")
