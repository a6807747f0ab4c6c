"""Whether the file does what the graph does: the same inputs through both, the difference and the time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from restore_jax.export.graph import Graph


@dataclass(frozen=True)
class Parity:
    """How far a model is from its graph on the same inputs, and what each costs.

    `max_abs_diff` is the largest difference of any value; `psnr_db = -10 log10(mean((a - b)^2))`, the PSNR
    of images in [0, 1], infinite where they are equal; `ms_*` the milliseconds of one call, the least of
    several.
    """

    max_abs_diff: float
    psnr_db: float
    ms_model: float
    ms_jax: float


def parity(graph: Graph, model: Callable[..., Any], inputs: Mapping[str, Any], runs: int = 5) -> Parity:
    """`model(**inputs)` against `jit(graph)(**inputs)`, both on this machine's CPU.

    Give it photographs: flat regions and edges show what a wrong resize or padding does, noise hides it. Each
    side runs once unmeasured, when JAX compiles, and then `runs` times. The least time is the one that other
    work disturbed least; copies in and out are part of it. It speaks of this machine, not of a phone.

    Raises:
        ValueError: names or shapes that are not the graph's, or an output of another shape.
    """
    arrays = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
    graph.check(arrays)
    # An accelerator may multiply in fewer bits than float32; the reference must not.
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        reference, ms_jax = timed(jax.jit(graph.__call__), arrays, runs)
    output, ms_model = timed(model, arrays, runs)
    if output.shape != reference.shape:
        raise ValueError(f"The model returns {output.shape} where the graph returns {reference.shape}.")
    difference = output.astype(np.float64) - reference
    mse = np.mean(np.square(difference))
    psnr_db = -10 * np.log10(mse) if mse != 0 else np.inf
    return Parity(float(np.max(np.abs(difference))), float(psnr_db), ms_model, ms_jax)


def timed(function: Callable[..., Any], arrays: Mapping[str, Any], runs: int) -> tuple[np.ndarray, float]:
    """What the function returns, and the least milliseconds of `runs` calls after a first one."""
    output = np.array(function(**arrays))
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        np.asarray(function(**arrays))  # waits for the result, as its user would
        seconds.append(time.perf_counter() - start)
    return output, 1000 * min(seconds)
