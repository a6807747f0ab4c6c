"""Whether the file does what the graph does: the same inputs through both, the difference and the time.

`parity` is one picture and the clock; `agreement` is several, photographs and extremes, and the worst of them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.build import build
from restore_jax.export.calibration import HELDOUT, crop, inputs
from restore_jax.export.graph import Graph

EXTREMES = ("black", "white", "saturated")


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
    arrays = typed(graph, inputs)
    # An accelerator may multiply in fewer bits than float32; the reference must not.
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        reference, ms_jax = timed(jax.jit(graph.__call__), arrays, runs)
    output, ms_model = timed(model, arrays, runs)
    difference = apart(output, reference)
    return Parity(float(np.max(np.abs(difference))), psnr([difference]), ms_model, ms_jax)


@dataclass(frozen=True)
class Agreement:
    """How far a model is from its graph over several inputs.

    `max_diff` is the largest difference of any value of any case, `worst` the name of that case; `psnr_db` is taken
    over the photographs together, in the units of `Parity`. What is not finite is infinitely far.
    """

    max_diff: float
    psnr_db: float
    worst: str
    max_diffs: dict[str, float]


def agreement(graph: Graph, model: Callable[..., Any], given: Mapping[str, Mapping[str, Any]]) -> Agreement:
    """`model` against `jit(graph)` on all of `given`, as `cases` makes it; one compilation.

    Raises:
        ValueError: nothing is given; names or shapes that are not the graph's, or an output of another shape.
    """
    if not given:
        raise ValueError("agreement needs at least one case; parity.cases(graph) makes some.")
    reference, differences = jax.jit(graph.__call__), {}
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        for name, one in given.items():
            arrays = typed(graph, one)
            differences[name] = apart(np.asarray(model(**arrays)), np.asarray(reference(**arrays)))
    largest = {name: float(np.max(np.abs(difference))) for name, difference in differences.items()}
    worst = max(largest, key=lambda name: largest[name])
    photographs = [d for name, d in differences.items() if name not in EXTREMES] or list(differences.values())
    return Agreement(largest[worst], psnr(photographs), worst, largest)


def exact(graph: Graph, arrays: Mapping[str, Any]) -> np.ndarray:
    """What the graph answers in float64, its weights as they are: which of two float32 answers is off, it tells.

    Costs another compilation, and several times the time of a call.

    Raises:
        ValueError: names or shapes that are not the graph's, pictures of 8 bits, or a graph that itself rounds to
            fewer bits on its way out.
    """
    if any(spec.dtype != np.float32 for spec in graph.inputs.values()):
        raise ValueError("exact: the graph must take float32 arrays; take it before `as_uint8`.")
    given = typed(graph, arrays)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide = jax.jit(lambda *arrays: graph.function(*arrays))
        answer = np.asarray(wide(*(jnp.asarray(array, jnp.float64) for array in given.values())))
    if answer.dtype != np.float64:
        raise ValueError(f"exact: the graph answers {answer.dtype} to float64, so that it does not tell roundings.")
    return answer


def cases(graph: Graph, photographs: Any = None) -> dict[str, dict[str, np.ndarray]]:
    """Inputs to compare on: the middle of each held-out photograph (or of `photographs`), and three extremes.

    Those are black, white, and "saturated": stripes of the eight corners of the colour cube, one pixel high where the
    step is largest. Noise that the graph takes is standard normal, another for each.
    """
    source = build(HELDOUT) if photographs is None else photographs
    _, h, w, c = graph.inputs["y"].shape
    names = getattr(source, "names", [f"photograph {number}" for number in range(len(source))])
    pictures = {str(name): crop(np.asarray(source[number]), h, w, c) for number, name in enumerate(names)}
    pictures["black"], pictures["white"] = np.zeros((1, h, w, c), np.uint8), np.full((1, h, w, c), 255, np.uint8)
    corner = (np.arange(h)[:, None] + np.arange(w) // 3) % 8
    pictures["saturated"] = (255 * (corner[None, ..., None] >> np.arange(c) % 3 & 1)).astype(np.uint8)
    return {name: inputs(graph, picture, seed) for seed, (name, picture) in enumerate(pictures.items())}


def typed(graph: Graph, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in the types of the graph.

    Raises:
        ValueError: names or shapes that are not the graph's.
    """
    graph.check(dict(arrays))
    return {name: np.asarray(array, graph.inputs[name].dtype) for name, array in arrays.items()}


def apart(output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`output - reference` where 1 is white, in float64; infinite where it is not a number.

    Raises:
        ValueError: the shapes differ.
    """
    if output.shape != reference.shape:
        raise ValueError(f"The model returns {output.shape} where the graph returns {reference.shape}.")
    white = 255 if reference.dtype == np.uint8 else 1
    difference = (output.astype(np.float64) - reference.astype(np.float64)) / white
    return np.where(np.isnan(difference), np.inf, difference)


def psnr(differences: list[np.ndarray]) -> float:
    """`-10 log10(mean(difference^2))` over all the arrays; infinite where there is none, -infinite where that is."""
    return decibels(float(np.mean([np.mean(np.square(difference)) for difference in differences])))


def decibels(mse: float) -> float:
    """The PSNR of a mean squared error where 1 is white."""
    return float(-10 * np.log10(mse)) if mse > 0 else float("inf")


def timed(function: Callable[..., Any], arrays: Mapping[str, Any], runs: int) -> tuple[np.ndarray, float]:
    """What the function returns, and the least milliseconds of `runs` calls after a first one."""
    output = np.array(function(**arrays))
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        np.asarray(function(**arrays))  # waits for the result, as its user would
        seconds.append(time.perf_counter() - start)
    return output, 1000 * min(seconds)
