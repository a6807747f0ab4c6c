"""The thing that leaves: one pure function of named arrays of fixed shape, its weights inside.

Phones run a graph, not a program: no parameters to bind, no keys, no shapes to decide. `Graph` is that
graph while it is still JAX; `stablehlo`, `tflite`, `coreml` and `onnx` write it to a file, and `parity` compares
the file with it. A net that is to leave keeps to five rules:

    loops       a Python `for`; never `lax.scan`, `fori_loop` or `while_loop`
    randomness  drawn outside and handed over as the input `noise`
    rank        at most 5 axes in any array (a pixel shuffle is height, then width)
    types       float32, real; no Fourier transform, no linear solve
    pooling     over the image to `b c`, then the Dense, then `[:, None, None]`
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr
from jax.interpreters import partial_eval
from jaxtyping import Array, Shaped

from restore_jax.core import Keys, Observation, Restorer
from restore_jax.nets.attention import leaving
from restore_jax.nets.layers import depthwise_as


class ExportError(ValueError):
    """A graph that the format cannot hold; the message names the operation and what to write instead."""


INSTEAD = {
    "unroll it, a Python `for` over the steps: the file holds the weights once": ("scan", "while"),
    "choose the branch before exporting, or evaluate both and pick with `jnp.where`": ("cond",),
    "take the random numbers as an input, `obs.cond['noise']`, drawn outside": (
        *("random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"),
    ),
    "write it as a convolution, or as a product with the constant matrices of the transform": ("fft",),
    "do the linear algebra before exporting and close over its result": (
        *("cholesky", "eigh", "eig", "svd", "lu", "householder_product", "triangular_solve"),
    ),
    "remove it: there is no Python to call back": ("pure_callback", "io_callback", "debug_callback"),
    "compute in float32 (the `dtype` of the module)": ("bfloat16", "float64"),
}


@dataclass(frozen=True)
class Graph:
    """`output = function(*inputs)` for arrays of named, fixed shapes; parameters closed over as constants.

    `function` is pure and takes its arrays by position, in the order of `inputs`; a Graph called by name
    checks what it is given. Images are `1 h w c`, float32, in [0, 1] (`as_uint8`: 8 bits). `metadata` travels
    inside TFLite, Core ML and ONNX files; Xcode shows "author", "short_description", "license" and "version" in
    their places.

    Raises:
        ValueError: a name that is not an identifier (the formats would silently change it), or an output
            called like an input.
    """

    function: Callable[..., Shaped[Array, "..."]]
    inputs: dict[str, jax.ShapeDtypeStruct]
    output: str = "x_hat"
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.inputs, self.output):
            if not (name.isidentifier() and name.isascii()):
                raise ValueError(f"{name!r} cannot name an array; use letters, digits and underscores.")
        if self.output in self.inputs:
            raise ValueError(f"The output is called {self.output!r} like an input; give it another name.")

    def __call__(self, **arrays: Any) -> Shaped[Array, "..."]:
        """`function` of the arrays by name.

        Raises:
            ValueError: a name is missing or unknown, or a shape is not the one in `inputs`.
        """
        self.check(arrays)
        return self.function(*(jnp.asarray(arrays[name], spec.dtype) for name, spec in self.inputs.items()))

    def check(self, arrays: dict[str, Any]) -> None:
        """Raise ValueError unless `arrays` have the names and shapes of `inputs`."""
        given = {name: jnp.shape(array) for name, array in arrays.items()}
        taken = {name: spec.shape for name, spec in self.inputs.items()}
        if given != taken:
            raise ValueError(f"The graph takes {taken} and was given {given}; export one of the size you need.")

    def as_uint8(self) -> "Graph":
        """The same graph with the input `y` and the output in 8 bits: `round(255 clip(f(y / 255), 0, 1))`."""

        def function(*arrays: Array) -> Array:
            given = [a.astype(jnp.float32) / 255 if name == "y" else a for name, a in zip(self.inputs, arrays)]
            return jnp.round(255 * jnp.clip(self.function(*given), 0, 1)).astype(jnp.uint8)

        inputs = {
            name: jax.ShapeDtypeStruct(spec.shape, jnp.uint8 if name == "y" else spec.dtype)
            for name, spec in self.inputs.items()
        }
        return dataclasses.replace(self, function=function, inputs=inputs)

    def jaxpr(self) -> ClosedJaxpr:
        """What is computed, as it leaves: without what nothing depends on (a key that is split and not used)."""
        with depthwise_as("conv"), leaving():
            closed = jax.make_jaxpr(lambda *arrays: self.function(*arrays))(*self.inputs.values())
        jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.out_avals), instantiate=True)
        used = {id(var) for equation in jaxpr.eqns for var in equation.invars} | {id(var) for var in jaxpr.outvars}
        kept = [(var, value) for var, value in zip(closed.jaxpr.constvars, closed.consts) if id(var) in used]
        return ClosedJaxpr(jaxpr.replace(constvars=[var for var, _ in kept]), [value for _, value in kept])

    def lower(self, platforms: tuple[str, ...] = ("cpu",)) -> jax_export.Exported:
        """The graph as StableHLO, weights inside as constants. Costs one trace; nothing is compiled.

        Raises:
            ExportError: an operation stays in Python (a host callback, for one).
        """
        fresh = jax.jit(lambda *arrays: self.function(*arrays))  # not a trace from before, in another form
        try:
            with depthwise_as("conv"), leaving():
                return jax_export.export(fresh, platforms=platforms)(*self.inputs.values())
        except NotImplementedError as error:
            raise explained(self, "StableHLO", error) from error


def restorer_graph(restorer: Restorer, height: int, width: int, channels: int = 3) -> Graph:
    """`x_hat = restorer(y[, noise])` for photographs `y` of `1 height width channels`, in [0, 1].

    Where `restorer.draws > 0`, the noise it would draw becomes an input: `draws` standard normal images
    side by side on the grid of x_hat, `1 (height scale) (width scale) (channels draws)`, which the restorer
    finds as `obs.cond["noise"]`. The same noise gives the same picture on every device.

    Raises:
        ExportError: the restorer still uses its key, so that its file would return one fixed draw for ever.
    """
    inputs = {"y": jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)}
    if restorer.draws:
        grid = (1, height * restorer.scale, width * restorer.scale, channels * restorer.draws)
        inputs["noise"] = jax.ShapeDtypeStruct(grid, jnp.float32)

    def restore(key: Keys, y: Array, *noise: Array) -> Array:
        obs = Observation(y=y)
        return restorer(key, obs.with_cond(noise=noise[0]) if noise else obs)

    # The key is argument 0, and JAX drops from an exported function the arguments that nothing depends on.
    key = jax.random.key(0)
    if 0 in jax_export.export(jax.jit(restore), platforms=("cpu",))(key, *inputs.values()).module_kept_var_idx:
        raise ExportError(
            f"The restorer has draws = {restorer.draws} and still draws random numbers from its key; in a "
            "file they would never change. Let it read obs.cond['noise'], and let `draws` count what it reads."
        )
    return Graph(lambda *arrays: restore(key, *arrays), inputs)


def explained(graph: Graph, destination: str, error: Exception, *hints: str) -> ExportError:
    """The ExportError of a conversion that failed with `error`.

    It lists each operation and type known not to travel, the line that wrote it and what to write instead;
    then the hints, and the first line of what the converter said.
    """
    instead = {name: advice for advice, names in INSTEAD.items() for name in names}
    found = {}
    for equation, where, module in equations(jax.make_jaxpr(graph.function)(*graph.inputs.values()).jaxpr):
        for name in [equation.primitive.name, *(str(getattr(out.aval, "dtype", "")) for out in equation.outvars)]:
            if name in instead:
                inside = f" in {module}" if module else ""
                found.setdefault(name, f"`{name}` at {where}{inside}: {instead[name]}.")
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    lines = [f"{destination} cannot hold this graph.", *found.values(), *hints, f"The converter: {said}"]
    return ExportError("\n".join(lines))


def equations(jaxpr: Any, within: str = "an unknown line", inside: str = "") -> Iterator[tuple[Any, str, str]]:
    """Every equation of a jaxpr, the line that wrote it and its module's path; those of calls and loops included."""
    for equation in jaxpr.eqns:
        where = source_info_util.summarize(equation.source_info) or within
        module = joined(inside, equation)
        yield equation, where, module
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)  # a closed jaxpr holds an open one
            if hasattr(inner, "eqns"):
                yield from equations(inner, where, module)


def joined(inside: str, equation: Any) -> str:
    """The path of the module that wrote an equation of a jaxpr called from the module `inside`: "NAFNet/intro"."""
    return "/".join(part for part in (inside, str(equation.source_info.name_stack)) if part)


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Where to write a file or folder that becomes `path` when the block ends, or leaves no trace."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as beside:
        fresh = Path(beside) / path.name
        yield fresh
        if path.is_dir():  # a folder is not replaced in one step: the old one moves to what is about to go
            path.rename(Path(beside) / "replaced")
        fresh.replace(path)
