"""Where a file begins to differ from its graph: the first operation of JAX's whose answer the file never holds.

Converters rename, reorder and fuse, so that nothing but its numbers tells which array of a file is which of the
graph's. Every intermediate array of the graph is looked for among those of the file, in either order of axes
(`b h w c` or `b c h w`) and any shape. It is accounted for if it is found, or if something that is computed from it
is: a fused operation leaves no trace. The first that is neither is where the difference begins. What is fused into a
wrong operation goes unfound with it, so that the answer may be a few operations early, seldom another module.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from restore_jax.export.activations import Activation, Origin, activations
from restore_jax.export.graph import Graph

LEAST_NUMBERS = 16  # fewer numbers meet by accident


@dataclass(frozen=True)
class Divergence:
    """The operation of the graph at which a file begins to differ, and how many of its arrays the file holds."""

    origin: Origin
    found: int
    compared: int

    def __str__(self) -> str:
        return f"The difference begins at {self.origin}; {self.found} of {self.compared} arrays agree."


def divergence(
    graph: Graph, values: Iterable[np.ndarray], inputs: Mapping[str, Any], tolerance: float = 1e-5
) -> Divergence | None:
    """Where the arrays `values` of a file, for the same `inputs`, begin to differ from the graph's; None if nowhere.

    Two arrays agree where `max |a - b| <= tolerance max |a|`: 1e-5 for a file in float32, 1e-2 for one in float16.
    Give it a photograph: in a flat picture arrays look alike that are not. Time and memory of all activations.

    Raises:
        ValueError: names or shapes that are not the graph's.
    """
    steps = activations(graph, inputs)
    seen = Arrays(values)
    compared = [step.origin.depends and telling(step.value) for step in steps]
    found = [told and seen.hold(step, tolerance) for told, step in zip(compared, steps)]
    accounted = list(found)
    for number in reversed(range(len(steps))):
        if accounted[number]:
            for parent in steps[number].origin.parents:
                accounted[parent] = True
    for told, known, step in zip(compared, accounted, steps):
        if told and not known:
            return Divergence(step.origin, sum(found), sum(compared))
    return None


def telling(value: np.ndarray) -> bool:
    """Whether an array is one that could not be another's by accident: real, of some size, and not uniform."""
    real = np.issubdtype(value.dtype, np.floating) and value.size >= LEAST_NUMBERS
    return bool(real and np.isfinite(value).all() and np.ptp(value) > 0)


class Arrays:
    """The arrays of a file by their size, flat, in the order of their axes and with channels moved last."""

    def __init__(self, values: Iterable[np.ndarray]) -> None:
        self._flat: dict[int, list[tuple[float, np.ndarray]]] = defaultdict(list)
        for value in values:
            value = np.asarray(value)
            if not np.issubdtype(value.dtype, np.floating) or value.size < LEAST_NUMBERS:
                continue
            orders = [value, np.moveaxis(value, 1, -1)] if value.ndim >= 3 else [value]
            for array in orders:
                flat = array.astype(np.float32).ravel()
                if np.isfinite(flat).all():  # a kernel's scratch memory holds whatever was there
                    self._flat[flat.size].append((float(np.mean(flat, dtype=np.float64)), flat))

    def hold(self, step: Activation, tolerance: float) -> bool:
        """Whether one of them agrees with an array of the graph."""
        flat = step.value.astype(np.float32).ravel()
        bound, mean = tolerance * float(np.max(np.abs(flat))), float(np.mean(flat, dtype=np.float64))
        near = (other for other_mean, other in self._flat[flat.size] if abs(other_mean - mean) <= bound)
        return any(np.max(np.abs(other - flat)) <= bound for other in near)
