"""`Ahead`: the next batches, already on the device when the step asks for them.

    with Ahead(pipeline.iterator(), parallel.shard, depth=2) as batches:
        for _ in range(steps):
            state, metrics = step(state, next(batches))

A thread reads the host batches, stacks `group` of them for a step that scans, and sends them to the device while the
device computes. Its state is that of the batches that were handed out, never of those made in advance: a checkpoint
taken between two steps goes on with exactly the batch that the next step would have had.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np


class Ahead(grain.DatasetIterator):
    """`shard(batch)` for the batches of `iterator`, `depth` of them made in advance by one thread.

    With `group` > 1 an item is `shard(stack of group batches)`, `[group, b, ...]`; a last group that is not full is not
    handed out. `iterator` is any iterator with `get_state` and `set_state`, such as Grain's, and belongs to this one
    from now on. What it raises is raised here, after the batches before it, by every later `next` until `set_state`.
    The thread starts with the first `next` or `start_prefetch`. The memory is that of `depth` items on the device and
    one on the host.

    Raises:
        ValueError: `depth` or `group` below 1; `next` after `close`.
    """

    def __init__(self, iterator: Iterator[Any], shard: Callable[[Any], Any], depth: int = 2, group: int = 1):
        super().__init__()
        self._iterator, self._made = iterator, None  # before anything raises: `__del__` closes
        for field, value in (("depth", depth), ("group", group)):
            if value < 1:
                raise ValueError(f"Ahead.{field} is at least 1, not {value}.")
        self._shard, self._depth, self._group = shard, depth, group
        self._state = iterator.get_state()

    def start_prefetch(self) -> None:
        """Begins to make batches now, while something else still compiles."""
        self._assert_not_closed()
        if self._made is None:
            self._made = made = _Made(self._depth)
            # The thread knows the buffer and not this object, which may so be forgotten without `close`.
            work = (made, self._iterator, self._shard, self._group)
            made.thread = threading.Thread(target=_make, args=work, name="ahead", daemon=True)
            self._stop = weakref.finalize(self, made.stop)  # also before the interpreter ends
            made.thread.start()

    def __next__(self) -> Any:
        self.start_prefetch()
        assert self._made is not None
        item, self._state = self._made.take()
        return item

    def get_state(self) -> dict[str, Any]:
        """Of `iterator`, after the batches that were handed out."""
        return self._state

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from `state`; what was made in advance is thrown away."""
        self._halt()
        self._iterator.set_state(state)
        self._state = state

    def close(self) -> None:
        """Ends the thread, and closes `iterator`."""
        self._halt()
        getattr(self._iterator, "close", lambda: None)()
        super().close()

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _halt(self) -> None:
        if self._made is not None:
            self._stop()
            self._made = None


class _Made:
    """Items with the state after each, at most `depth` waiting; the last may be an error."""

    def __init__(self, depth: int):
        self.depth, self.items, self.error, self.stopped = depth, deque(), None, False
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None

    def has_room(self) -> bool:
        """Waits until another item is wanted; false when none will be."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or len(self.items) < self.depth)
            return not self.stopped

    def put(self, item: Any, state: Any) -> None:
        with self.changed:
            self.items.append((item, state))
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self.changed:
            self.error = error
            self.changed.notify_all()

    def take(self) -> tuple[Any, Any]:
        with self.changed:
            self.changed.wait_for(lambda: self.items or self.error is not None)
            if not self.items:
                assert self.error is not None
                raise self.error
            item = self.items.popleft()
            self.changed.notify_all()
            return item

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()


def _make(made: _Made, iterator: Iterator[Any], shard: Callable[[Any], Any], group: int) -> None:
    try:
        while made.has_room():
            batches = [next(iterator) for _ in range(group)]
            batch = batches[0] if group == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
            made.put(shard(batch), iterator.get_state())
    except BaseException as error:  # the reader's to judge, StopIteration among them
        made.fail(error)
