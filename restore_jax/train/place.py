"""A run's place in its data, as one small file of each process in a checkpoint."""

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import grain
import jax


class PlaceError(RuntimeError):
    """A place in the data that this run cannot go to."""


@runtime_checkable
class Positioned(Protocol):
    """Anything whose place in the data can be asked and set: a Grain iterator, or what wraps one."""

    def get_state(self) -> Any:
        """The place, as something JSON can hold."""
        ...

    def set_state(self, state: Any) -> None:
        """Moves to a place."""
        ...


def place_of(iterator: Positioned) -> grain.checkpoint.CheckpointSave:
    """What Orbax is given so that it writes the place at which `iterator` is now."""
    return grain.checkpoint.CheckpointSave(_Text(json.dumps(iterator.get_state())))


def move(iterator: Positioned, folder: Path) -> None:
    """Moves `iterator` to the place written in `folder`, and lets it begin to read ahead.

    Raises:
        PlaceError: another number of processes wrote it.
    """
    path = folder / f"process_{jax.process_index()}-of-{jax.process_count()}.json"
    if not path.exists():
        count = len(list(folder.glob("process_*.json")))
        raise PlaceError(f"it was saved by {count} processes and this run has {jax.process_count()}: start as many")
    iterator.set_state(json.loads(path.read_text(encoding="utf-8")))
    getattr(iterator, "start_prefetch", lambda: None)()


class _Text:
    """What Grain's handler writes of an iterator that is not its own: text in bytes."""

    def __init__(self, text: str):
        self.text = text

    def get_state(self) -> bytes:
        return self.text.encode()
