"""StableHLO: a graph as one file that any JAX reads back, without the code that made it.

The route to servers, and from one kind of accelerator to another: `jax.export`'s own serialisation. JAX
promises to read a file for six months, so this is a way to ship and not to archive: keep weights and code.
"""

import os
from collections.abc import Callable
from pathlib import Path

from jax import export as jax_export
from jaxtyping import Array, Float

from restore_jax.export.graph import Graph, whole

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(graph: Graph, path: str | os.PathLike[str], platforms: tuple[str, ...] = PLATFORMS) -> Path:
    """Write `graph` to `path` for each of `platforms`; whole or not at all. 4 bytes a parameter.

    The names stay behind: the file's function takes its arrays in the order of `graph.inputs`.

    Raises:
        ExportError: an operation stays in Python (a host callback, for one).
    """
    content = graph.lower(platforms).serialize()
    with whole(path) as fresh:
        fresh.write_bytes(content)
    return Path(path)


def load_stablehlo(path: str | os.PathLike[str]) -> Callable[..., Float[Array, "..."]]:
    """The function in a file of `to_stablehlo`, of arrays by position; it may be jitted and composed.

    Raises:
        ValueError: (when called) this process runs on a platform that the file was not written for.
    """
    return jax_export.deserialize(bytearray(Path(path).read_bytes())).call
