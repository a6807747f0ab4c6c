"""Starting where another run ended, with a network that may have grown since.

A method that needs another rule has `adopt(params, theirs) -> params` of its own.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from restore_jax.build import SpecError
from restore_jax.core import PyTree


def adopt(params: PyTree, theirs: PyTree, path: str = "") -> PyTree:
    """`params` with each leaf of `theirs` in its place; what theirs does not have stays fresh.

    Every leaf of `theirs` must have its place: the same path and the same shape in `params`. So a denoiser may
    become a flow map, which has an embedding more, and not the other way round.

    Raises:
        SpecError: a leaf of `theirs` has no place in `params`; the first such path is named.
    """
    if isinstance(params, Mapping) and isinstance(theirs, Mapping):
        for name in theirs:
            if name not in params:
                raise SpecError(f"theirs has {path}{name}, and ours does not.")
        return {
            name: adopt(ours, theirs[name], f"{path}{name}/") if name in theirs else ours
            for name, ours in params.items()
        }
    if isinstance(params, Mapping) or isinstance(theirs, Mapping):
        raise SpecError(f"{path[:-1]} is a layer in one and an array in the other.")
    if jnp.shape(params) != jnp.shape(theirs):
        raise SpecError(f"{path[:-1]} has shape {jnp.shape(theirs)} in theirs and {jnp.shape(params)} in ours.")
    return theirs
