"""Checkpoints: state, data iterator and config in one Orbax step, written whole or not at all.

    workdir/config.json           what this run is
    workdir/checkpoints/<step>/   state, data, config; the newest `keep` of them

A crash while saving leaves the step before. A workdir that holds another config is refused.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from restore_jax.core import TrainState

# What may change between two starts of one run: it decides how the run is watched, not what it computes.
FREE = ("log_every_images", "checkpoint_every_images", "preview_every_images", "keep", "parallel")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, read, or belongs to something else; the message says what to do."""


class Checkpoints:
    """The checkpoints of one workdir; a context manager."""

    def __init__(self, workdir: str | Path, config: dict[str, Any], keep: int = 2):
        self.workdir = Path(workdir).resolve()
        self.config = json.loads(json.dumps(config, default=str))
        _claim(self.workdir, self.config)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.workdir / "checkpoints", options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exc: object) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The newest step saved, if any."""
        return self._manager.latest_step()

    def save(self, state: TrainState, iterator: grain.DatasetIterator) -> None:
        """Writes one checkpoint; the ones before stay until it is complete.

        Raises:
            CheckpointError: the disk is full or not writable; the last good checkpoint is still there.
        """
        step = int(state.step)
        if step == self.latest:
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_raw(state)),
            data=grain.checkpoint.CheckpointSave(iterator),
            config=ocp.args.JsonSave(self.config),
        )
        try:
            self._manager.save(step, args=items, force=True)
            self._manager.wait_until_finished()
        except Exception as error:
            if not _is_disk_trouble(error):
                raise
            good = (
                f"The last good checkpoint, step {self.latest}, is still there."
                if self.latest
                else "None is saved yet."
            )
            raise CheckpointError(
                f"Cannot write the checkpoint of step {step} to {self.workdir}: {_first_line(error)}. {good} "
                "Free some space (or choose another --workdir) and run the same command again."
            ) from error

    def restore(self, like: TrainState, iterator: grain.DatasetIterator) -> TrainState:
        """The newest state; `iterator` is moved to the batch that follows it."""
        step = self.latest
        if step is None:
            raise CheckpointError(f"{self.workdir} holds no checkpoint.")
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, _raw(like))),
            data=grain.checkpoint.CheckpointRestore(iterator),
        )
        return _cooked(self._manager.restore(step, args=items)["state"])


def read(workdir: str | Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Config, state (a dict of arrays) and step of the newest checkpoint of a workdir.

    Raises:
        CheckpointError: there is none.
    """
    directory = Path(workdir).resolve() / "checkpoints"
    if not directory.is_dir():
        raise CheckpointError(f"{workdir} holds no checkpoints: give the --workdir of a training run.")
    with ocp.CheckpointManager(directory) as manager:
        step = manager.latest_step()
        if step is None:
            raise CheckpointError(f"{directory} holds no complete checkpoint: train a little longer.")
        # Without a template Orbax gives arrays as they were saved; parameters are all that a reader needs.
        items = ocp.args.Composite(state=ocp.args.StandardRestore(), config=ocp.args.JsonRestore())
        restored = manager.restore(step, args=items)
    return restored["config"], restored["state"], step


def _raw(state: TrainState) -> TrainState:
    """Typed keys as the integers under them, which is what goes to disk."""
    return dataclasses.replace(state, key=jax.random.key_data(state.key))


def _cooked(state: TrainState) -> TrainState:
    return dataclasses.replace(state, key=jax.random.wrap_key_data(state.key))


def _claim(workdir: Path, config: dict[str, Any]) -> None:
    """Writes config.json, or checks the one that is there."""
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _same(json.loads(path.read_text()), config, workdir)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(config, indent=1, sort_keys=True))
        os.replace(partial, path)
    except OSError as error:
        raise CheckpointError(
            f"Cannot write to --workdir {workdir}: {_first_line(error)}. Choose a folder that you may write to."
        ) from error


def _same(saved: dict[str, Any], config: dict[str, Any], workdir: Path) -> None:
    old, new = _flat(saved), _flat(config)
    differ = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k) and k.split(".")[0] not in FREE]
    if differ:
        lines = "\n".join(f"  {k}: saved {old.get(k, 'nothing')!r}, asked {new.get(k, 'nothing')!r}" for k in differ)
        raise CheckpointError(
            f"{workdir} belongs to another config:\n{lines}\n"
            "Choose another --workdir, or ask for the saved values to go on with that run."
        )


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None:
        return {path: tree}
    return {k: v for name, item in pairs for k, v in _flat(item, f"{path}.{name}" if path else str(name)).items()}


# The words of those who write for us and do not raise OSError.
_DISK = ("No space left", "RESOURCE_EXHAUSTED", "quota exceeded", "File too large")
_DISK += ("Permission denied", "PERMISSION_DENIED", "permission denied")


def _is_disk_trouble(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) or any(word in str(error) for word in _DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
