"""What a graph computes on its way: every intermediate array, the module and the line that wrote it, its largest value.

A jaxpr is run equation by equation inside one `jit`. `activations` answers the arrays, for `locate` to look for in a
file; `ranges` answers their largest magnitudes only, in the memory of one pass, to tell where float16 overflows.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import Literal

from restore_jax.export.graph import Graph, joined

FP16_LIMIT = 6e4  # float16 ends at 65504; the rest is room for other photographs
CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")


@dataclass(frozen=True)
class Origin:
    """Where an intermediate array comes from.

    `parents` are the numbers, in the order of execution, of the operations whose results it reads; `depends` says
    whether it changes with the graph's inputs.
    """

    primitive: str
    module: str
    where: str
    parents: tuple[int, ...]
    depends: bool

    def __str__(self) -> str:
        return f"`{self.primitive}` in {self.module or 'the graph itself'} at {self.where}"


@dataclass(frozen=True, eq=False)
class Activation:
    """An intermediate array and where it comes from."""

    origin: Origin
    value: np.ndarray


@dataclass(frozen=True)
class Range:
    """The largest magnitude that an operation answered, over all pictures it was shown."""

    origin: Origin
    max_abs: float


def activations(graph: Graph, arrays: Mapping[str, Any]) -> list[Activation]:
    """Every intermediate array of `graph(**arrays)`, in the order of execution; all of them in memory at once.

    Raises:
        ValueError: names or shapes that are not the graph's.
    """
    origins, values = recorded(graph, [arrays], lambda value: value)
    return [Activation(origin, np.asarray(value)) for origin, value in zip(origins, values[0])]


def ranges(graph: Graph, pictures: Iterable[Mapping[str, Any]]) -> list[Range]:
    """`max |value|` of every intermediate array, over all `pictures`, in the order of execution.

    Raises:
        ValueError: names or shapes that are not the graph's, or no picture.
    """
    origins, values = recorded(graph, pictures, lambda value: jnp.max(jnp.abs(value.astype(jnp.float32)), initial=0))
    if not values:
        raise ValueError("ranges needs at least one picture to record; give it photographs (`parity.cases`).")
    largest = np.max(np.asarray(values, np.float32), axis=0)
    return [Range(origin, float(most)) for origin, most in zip(origins, largest)]


def overflows(found: Iterable[Range], limit: float = FP16_LIMIT) -> list[Range]:
    """Those above `limit` (or not finite), which float16 turns into infinity; in the order of execution."""
    return [one for one in found if one.origin.depends and not one.max_abs <= limit]


Answer = Callable[[Any, list[Any], str], Any]


def plain(equation: Any, values: list[Any], module: str = "") -> Any:
    """What an equation of a jaxpr answers to `values`: at once, in the middle of a trace, if none of them is traced."""
    bound: Any = equation.primitive.get_bind_params(equation.params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # a pair in later releases
    traced = any(isinstance(value, jax.core.Tracer) for value in values)
    at_once = contextlib.nullcontext() if traced else jax.ensure_compile_time_eval()
    with at_once, jax.named_scope(module) if module else contextlib.nullcontext():
        return equation.primitive.bind(*functions, *values, **params)


def recorded(
    graph: Graph, pictures: Iterable[Mapping[str, Any]], of: Callable[[jax.Array], jax.Array]
) -> tuple[list[Origin], list[list[jax.Array]]]:
    """Where every intermediate array comes from, and `of` each of them for each of `pictures`. One compilation."""
    closed = graph.jaxpr()
    origins: list[Origin] = []

    def everything(*arrays: jax.Array) -> list[jax.Array]:
        origins.clear()
        values: list[jax.Array] = []
        consts: list[Any] = [(value, None, False) for value in closed.consts]
        run(closed.jaxpr, consts, [(array, None, True) for array in arrays], origins, values)
        return [of(value) for value in values]

    jitted, answers = jax.jit(everything), []
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        for arrays in pictures:
            graph.check(dict(arrays))
            answers.append(jitted(*(jnp.asarray(arrays[name], spec.dtype) for name, spec in graph.inputs.items())))
    return list(origins), answers


def run(
    jaxpr: Any,
    consts: Sequence[tuple[Any, int | None, bool]],
    given: Sequence[tuple[Any, int | None, bool]],
    origins: list[Origin],
    values: list[jax.Array],
    within: str = "an unknown line",
    inside: str = "",
    answer: Answer = plain,
) -> list[tuple[Any, int | None, bool]]:
    """Runs `jaxpr`, calls inside included, and appends what each equation answers to `origins` and `values`.

    A variable is its value, the number of the operation that answered it, and whether it depends on an input.
    `answer(equation, values, module)` says what an equation answers.
    """
    known: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *given]))

    def read(var: Any) -> tuple[Any, int | None, bool]:
        return (var.val, None, False) if isinstance(var, Literal) else known[var]

    for equation in jaxpr.eqns:
        where = source_info_util.summarize(equation.source_info) or within
        module = joined(inside, equation)
        taken = [read(var) for var in equation.invars]
        inner = next((equation.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in equation.params), None)
        if equation.primitive.name in CALLS and inner is not None:
            body, constants = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
            answered = run(body, [(c, None, False) for c in constants], taken, origins, values, where, module, answer)
        else:
            parents = tuple(number for _, number, _ in taken if number is not None)
            depends = any(depend for _, _, depend in taken)
            out = answer(equation, [value for value, _, _ in taken], module)
            answered = []
            for value in out if equation.primitive.multiple_results else [out]:
                answered.append((value, len(origins), depends))
                origins.append(Origin(equation.primitive.name, module, where, parents, depends))
                values.append(value)
        known.update(zip(equation.outvars, answered))
    return [read(var) for var in jaxpr.outvars]
