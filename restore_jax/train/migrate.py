"""The state in a checkpoint: its arrays and layout, how it differs from what is asked, and what of it can be taken."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from restore_jax.core import TrainState

# What may change between two starts of one run: it decides how the run is watched and spread, not what it computes.
FREE = ("log_every_images", "checkpoint_every_images", "preview_every_images", "retain", "parallel")
FREE += ("steps_per_dispatch", "prefetch", "profile", "spikes", "trackers")


def arrays(folder: Path) -> dict[str, Any]:
    """The state of a step as NumPy arrays, on whatever devices it was."""
    handler, path = ocp.PyTreeCheckpointHandler(), epath.Path(folder / "state")
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(path).tree)
    return handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=args))


def placed(folder: Path, template: TrainState) -> TrainState:
    """The state of a step, each array on the devices, and in the parts, of the template's."""
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
    path = epath.Path(folder / "state")
    return ocp.StandardCheckpointHandler().restore(path, args=ocp.args.StandardRestore(shapes))


def without_keys(state: TrainState) -> TrainState:
    """Typed keys as the integers under them, which is what goes to disk."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)


def with_keys(like: TrainState, data: TrainState) -> TrainState:
    """The state with keys where `like` has them; the inverse of `without_keys`."""
    wrap = lambda key, bits: jax.random.wrap_key_data(bits, impl=jax.random.key_impl(key))  # noqa: E731
    return jax.tree.map(lambda leaf, bits: wrap(leaf, bits) if _is_key(leaf) else bits, like, data)


def flat(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by path, `"params/net/kernel"`; fields, keys and positions differ by name only."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def layout(tree: Any) -> dict[str, str]:
    """The path of each leaf to its type and shape, `"float32[3,3,4,8]"`."""
    text = lambda leaf: f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}".replace(" ", "")  # noqa: E731
    return {path: text(leaf) for path, leaf in flat(tree).items()}


def layout_differences(saved: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """One line for each leaf that two layouts do not share."""
    lines = []
    for path in sorted(saved.keys() | asked.keys()):
        if path not in asked:
            lines.append(f"  {path}: saved {saved[path]}, not asked for")
        elif path not in saved:
            lines.append(f"  {path}: not saved, asked {asked[path]}")
        elif saved[path] != asked[path]:
            lines.append(f"  {path}: saved {saved[path]}, asked {asked[path]}")
    return lines


def config_differences(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One line for each value that two configs, of what JSON holds, do not share; those of `FREE` may differ."""
    old, new = _values(saved), _values(asked)
    differ = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k) and k.split(".")[0] not in FREE]
    return [f"  {k}: saved {old.get(k, 'nothing')!r}, asked {new.get(k, 'nothing')!r}" for k in differ]


def listed(lines: list[str], most: int = 20) -> str:
    """The first lines of many, and how many more there are."""
    more = [f"  and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join(lines[:most] + more)


def taken(saved: Any, template: Any) -> tuple[Any, list[str]]:
    """`template` with each leaf of `saved` (NumPy arrays) that fits it, and a line for each leaf that does not.

    A leaf fits that has the path, the shape and the kind of number; floats are rounded to the template's precision, and
    arrays are placed as the template's are.
    """
    found, leaves, lines = flat(saved), [], []
    for path, leaf in flat(template).items():
        array = found.pop(path, None)
        if array is None or array.shape != jnp.shape(leaf) or _kind(array) != _kind(leaf):
            lines.append(f"  {path}: begins afresh")
            leaves.append(leaf)
            continue
        array = array.astype(jnp.result_type(leaf))
        if isinstance(leaf, jax.Array):
            array = jax.make_array_from_callback(leaf.shape, leaf.sharding, array.__getitem__)
        leaves.append(array)
    lines += [f"  {path}: not used" for path in found]
    return jax.tree.unflatten(jax.tree.structure(template), leaves), lines


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _kind(leaf: Any) -> Any:
    dtype = jnp.result_type(leaf)
    return np.floating if jnp.issubdtype(dtype, jnp.floating) else dtype


def _values(tree: Any, path: str = "") -> dict[str, Any]:
    pairs = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None:
        return {path: tree}
    return {k: v for name, item in pairs for k, v in _values(item, f"{path}.{name}" if path else str(name)).items()}
