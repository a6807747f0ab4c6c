"""`Feed`: the batches of each dispatch, and what a checkpoint must know to go on with the next.

Its state is that of the data iterator after the batches that were trained on, and of the `window`, what the steps since
the last row of the table said. Both go into the checkpoint as one.
"""

from collections.abc import Callable
from typing import Any

import grain

from restore_jax.data.ahead import Ahead
from restore_jax.train.window import Window


class Feed(grain.DatasetIterator):
    """The next batches, on the device: `feed.take(k)` has a leading axis of k where k is above 1.

    `begin` opens the host's iterator from its first batch. Made ahead are dispatches of one size; another size (at the
    end of a run, or after a start in mid-dispatch) begins to read ahead anew. A context manager.
    """

    def __init__(self, begin: Callable[[], Any], shard: Callable[[Any], Any], depth: int, window: Window):
        super().__init__()
        self._begin, self._shard, self._depth = begin, shard, depth
        self.window = window
        self._size = 1
        self._ahead = self._open(1)
        self._first = {"data": self._ahead.get_state(), "window": window.state()}

    def take(self, size: int) -> Any:
        """The batches of a dispatch of so many steps."""
        if size != self._size:
            state = self._ahead.get_state()
            self._ahead.close()
            self._size, self._ahead = size, self._open(size)
            self._ahead.set_state(state)
        return next(self._ahead)

    def __next__(self) -> Any:
        return self.take(self._size)

    def get_state(self) -> dict[str, Any]:
        """Of the batches trained on and the steps not yet in the table; waits for the device."""
        return {"data": self._ahead.get_state(), "window": self.window.state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self._ahead.set_state(state["data"])
        self.window.restore(state["window"])

    def rewind(self) -> None:
        """Goes on from the first batch of all."""
        self.set_state(self._first)

    def close(self) -> None:
        """Ends what is read ahead."""
        self._ahead.close()
        super().close()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, size: int) -> Ahead:
        return Ahead(self._begin(), self._shard, self._depth, size)
