"""Kernels on a grid of 8 bits, every number rounded so that it makes up for those that were rounded before it.

    found = kernels(graph, pictures)        what a graph multiplies by, and what 8 bits make of it
    eight = replaced(graph, {one.digest: one.rounded for one in found})
    kept = mixed(graph, pictures, found, least_db=45)       modules that had better keep 16 bits

For the rows x that a kernel w meets in photographs, all its outputs at once:

    q_i = s round(w_i / s),    w_j <- w_j - (w_i - q_i) U_ij / U_ii  for j > i
    U^T U = (H + damping)^-1,  U upper triangular,  H = sum over rows of x^T x

which is nearly the q on the grid that changes what the kernel answers least. `s = max |w| / 127`, a number an output:
the scale that LiteRT's and Core ML's quantizers choose for themselves. The largest number of each output stays where it
is, so that both find the same grid again, and round nothing any more.

Reference: Frantar et al. 2023, "GPTQ", section 3.
"""

import dataclasses
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.export.activations import Answer, plain, run
from restore_jax.export.graph import Graph
from restore_jax.export.parity import decibels

LEVELS = 127  # on either side of zero
POSITIONS = 4096  # of a photograph that are looked at: more than a kernel has numbers an output
DAMPING = 0.01  # of the mean of H's diagonal: what H knows from few rows is not trusted
IMAGES = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))  # "NHWC", "HWIO", "NHWC"


@dataclass(frozen=True, eq=False)
class Kernel:
    """A constant that a convolution or a product of matrices multiplies by.

    `digest` tells it from others by its numbers, `module` is the first that uses it; `rounded` is the same array on the
    grid.
    """

    digest: str
    module: str
    value: np.ndarray
    rounded: np.ndarray


@dataclass(frozen=True)
class Sensitivity:
    """What it does to the picture if one module alone has kernels of 8 bits."""

    module: str
    weights: int
    mse: float

    @property
    def psnr_db(self) -> float:
        """Of the picture to the graph's own, in [0, 1]; infinite where they are equal."""
        return decibels(self.mse)


def kernels(graph: Graph, pictures: Iterable[Mapping[str, Any]]) -> list[Kernel]:
    """The kernels of a graph, in the order of execution; a convolution that enlarges has none that is known here.

    Costs a pass of the graph a picture, and for a kernel of m numbers an output m^3 operations and m^2 numbers.

    Raises:
        ValueError: names or shapes that are not the graph's, or no picture.
    """
    found: dict[str, tuple[str, np.ndarray, Any]] = {}

    def moments(*arrays: Array) -> dict[str, Array]:
        sums: dict[str, Array] = {}

        def answer(equation: Any, values: list[Any], module: str) -> Any:
            digest = _digest(equation, values)
            if digest:
                found.setdefault(digest, (module, np.asarray(values[1], np.float32), equation))
                rows = rows_of(equation, values[0], values[1].shape)
                sums[digest] = sums.get(digest, 0) + jnp.einsum("ngm,ngk->gmk", rows, rows)
            return plain(equation, values, module)

        _replayed(graph, arrays, answer)
        return sums

    jitted, total = jax.jit(moments), None
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        for arrays in pictures:
            graph.check(dict(arrays))
            sums = jitted(*(jnp.asarray(arrays[name], spec.dtype) for name, spec in graph.inputs.items()))
            more = {digest: np.asarray(one, np.float64) for digest, one in sums.items()}
            total = more if total is None else {digest: total[digest] + one for digest, one in more.items()}
    if total is None:
        raise ValueError("kernels needs at least one picture; give it photographs (`calibration.calibration`).")
    return [
        Kernel(digest, module, value, _back(compensated(matrix_of(equation, value), total[digest]), value))
        for digest, (module, value, equation) in found.items()
    ]


def replaced(graph: Graph, instead: Mapping[str, Any]) -> Graph:
    """The graph with the kernels of these digests replaced; modules keep their names."""

    def answer(equation: Any, values: list[Any], module: str) -> Any:
        digest = _digest(equation, values)
        if digest in instead:
            values = [values[0], jnp.asarray(instead[digest])]
        return plain(equation, values, module)

    # Traced, always: what is not then is constant.
    return dataclasses.replace(graph, function=jax.jit(lambda *arrays: _replayed(graph, arrays, answer), inline=True))


def compensated(w: Float[np.ndarray, "g m o"], moments: Float[np.ndarray, "g m m"]) -> Float[np.ndarray, "g m o"]:
    """g kernels of o outputs on their grids, for rows with these sums of products.

    The numbers that meet the largest rows come first. Costs m^3 + m^2 o operations a kernel.
    """
    scale = np.abs(w).max(axis=1) / LEVELS
    scale = np.where(scale > 0, scale, 1.0)
    return np.stack([_one(*parts) for parts in zip(w.astype(np.float64), moments, scale)]).astype(np.float32)


def sensitivities(graph: Graph, pictures: Iterable[Mapping[str, Any]], found: Sequence[Kernel]) -> list[Sensitivity]:
    """One for each module, in the order of execution. Costs a pass of the graph for each module and picture."""
    error = _errors(graph, pictures, found)
    weights = {one.module: 0 for one in found}
    for one in found:
        weights[one.module] += one.value.size
    return [Sensitivity(module, count, error(frozenset({module}))) for module, count in weights.items()]


def mixed(
    graph: Graph, pictures: Iterable[Mapping[str, Any]], found: Sequence[Kernel], least_db: float
) -> tuple[str, ...]:
    """The modules that keep their kernels, so that with all others in 8 bits PSNR to the graph is `least_db` or more.

    Those leave first that spoil most a weight: as few as suffice, found by halving. Then each that is not needed after
    all comes back, the heaviest first, if the error that it brings alone would fit in what is left. Each answer is
    measured. Costs a pass for each module and picture, and few more.

    Raises:
        ValueError: `least_db` is not reached by anything but all modules.
    """
    pictures = list(pictures)
    error, limit = _errors(graph, pictures, found), 10 ** (-least_db / 10)
    every = frozenset(one.module for one in found)
    if error(every) <= limit:
        return ()
    rows = sorted(sensitivities(graph, pictures, found), key=lambda row: -row.mse / row.weights)
    enough = bisect_left(range(len(rows)), True, key=lambda n: error(every - {row.module for row in rows[:n]}) <= limit)
    if enough == len(rows):
        raise ValueError(f"mixed: least_db = {least_db} leaves no module in 8 bits; ask for less, or for fp16.")
    eight = every - {row.module for row in rows[:enough]}
    spent = error(eight)
    for row in sorted(rows[:enough], key=lambda row: -row.weights):
        if spent + row.mse <= limit and (more := error(eight | {row.module})) <= limit:
            eight, spent = eight | {row.module}, more
    return tuple(one for one in dict.fromkeys(kernel.module for kernel in found) if one not in eight)


def _errors(
    graph: Graph, pictures: Iterable[Mapping[str, Any]], found: Sequence[Kernel]
) -> Callable[[frozenset[str]], float]:
    """The mean squared error of the picture with the kernels of some modules rounded; one compilation for all."""
    taken = [[jnp.asarray(one[name], spec.dtype) for name, spec in graph.inputs.items()] for one in pictures]
    jitted = jax.jit(lambda instead, *arrays: replaced(graph, instead).function(*arrays).astype(jnp.float32))
    white = 255.0 if graph.inputs["y"].dtype == jnp.uint8 else 1.0

    def answers(modules: frozenset[str]) -> list[np.ndarray]:
        instead = {one.digest: one.rounded if one.module in modules else one.value for one in found}
        with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
            return [np.asarray(jitted(instead, *arrays)) / white for arrays in taken]

    reference = answers(frozenset())
    return lambda modules: float(np.mean([np.mean(np.square(a - b)) for a, b in zip(answers(modules), reference)]))


def _replayed(graph: Graph, arrays: Sequence[Array], answer: Answer) -> Any:
    closed = graph.jaxpr()
    consts = [(value, None, False) for value in closed.consts]
    (out,) = run(closed.jaxpr, consts, [(array, None, True) for array in arrays], [], [], answer=answer)
    return out[0]


# ---------------------------------------------------------------------------------------------
# A product as rows by a matrix
# ---------------------------------------------------------------------------------------------


def _digest(equation: Any, values: list[Any]) -> str:
    """Of the kernel of a product of images or rows by a constant; "" for everything else."""
    params, name = equation.params, equation.primitive.name
    if name == "conv_general_dilated":
        form = params["dimension_numbers"]
        plainly = set(params["lhs_dilation"]) == {1} and params["batch_group_count"] == 1
        known = plainly and (form.lhs_spec, form.rhs_spec, form.out_spec) == IMAGES
    else:
        axes = (((values[0].ndim - 1,), (0,)), ((), ())) if name == "dot_general" else None
        known = axes is not None and params["dimension_numbers"] == axes and values[1].ndim == 2
    if not known or isinstance(values[1], jax.core.Tracer) or not isinstance(values[0], jax.core.Tracer):
        return ""
    kernel = np.ascontiguousarray(values[1], np.float32)
    return hashlib.sha256(f"{name} {kernel.shape}".encode() + kernel.tobytes()).hexdigest()


def rows_of(equation: Any, x: Array, shape: tuple[int, ...]) -> Float[Array, "n g m"]:
    """What the kernel meets at `POSITIONS` places of x, drawn once: g groups of m numbers."""
    params, rng = equation.params, np.random.default_rng(0)
    if equation.primitive.name == "dot_general":
        rows = x.reshape(-1, 1, x.shape[-1])
        return rows[rng.permutation(len(rows))[:POSITIONS]]
    (below, right), groups = params["padding"], params["feature_group_count"]
    (up, left), (down, across) = params["window_strides"], params["rhs_dilation"]
    *_, high, wide, _ = equation.outvars[0].aval.shape
    low = [min(0, side) for side in (*below, *right)]
    x = jnp.pad(x[0], [(below[0] - low[0], below[1] - low[1]), (right[0] - low[2], right[1] - low[3]), (0, 0)])
    place = rng.permutation(high * wide)[:POSITIONS]
    row = (place // wide * up - low[0])[:, None, None] + np.arange(shape[0])[None, :, None] * down
    column = (place % wide * left - low[2])[:, None, None] + np.arange(shape[1])[None, None] * across
    met = x[row, column]  # n k k c
    apart = met.reshape(*met.shape[:3], groups, -1).transpose(0, 3, 1, 2, 4)
    return apart.reshape(len(place), groups, -1)


def matrix_of(equation: Any, kernel: np.ndarray) -> Float[np.ndarray, "g m o"]:
    """The kernel as `rows_of` meets it: numbers of a window by outputs, one matrix a group."""
    if kernel.ndim == 2:
        return kernel[None]
    groups = equation.params["feature_group_count"]
    apart = kernel.reshape(-1, groups, kernel.shape[-1] // groups)
    return apart.transpose(1, 0, 2)


def _back(matrix: Float[np.ndarray, "g m o"], like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix.transpose(1, 0, 2)).reshape(like.shape)


def _one(w: np.ndarray, moments: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """One kernel `m o` on its grid."""
    order = np.argsort(-np.diag(moments), kind="stable")
    w, h = w[order].copy(), moments[np.ix_(order, order)]
    damping = DAMPING * np.mean(np.diag(h))
    inverse = np.linalg.inv(h + (damping or 1.0) * np.eye(len(h)))
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    largest = np.abs(w).argmax(axis=0)
    fixed = np.round(w[largest, np.arange(w.shape[1])] / scale)
    q = np.empty_like(w)
    for i in range(len(w)):
        level = np.where(largest == i, fixed, np.clip(np.round(w[i] / scale), -LEVELS, LEVELS))
        q[i] = level * scale
        w[i + 1 :] -= upper[i, i + 1 :, None] * ((w[i] - q[i]) / upper[i, i])
    out = np.empty_like(q)
    out[order] = q
    return out
