"""What the device has said since the last row of the table; read when a row is due, and not before.

    row    loss        the mean over the steps that were made
           skipped     how many were not
           the rest    of the last step that was made

Its state goes into the checkpoint with the data iterator's: a run that resumes between two rows writes the row that the
uninterrupted run writes.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

UNREAD = 512  # dispatches that may wait to be read; then all but the newest are


@runtime_checkable
class Judge(Protocol):
    """What is shown every step, and remembers losses: `train.spikes.SpikeLog`."""

    before: list[float]

    def step(self, step: int, values: Mapping[str, float]) -> str:
        """What to say of a step aloud; empty for nothing."""
        ...


class Window:
    """The steps since the last row; each is also shown to the spike log, in order."""

    def __init__(self, spikes: Judge):
        self.spikes = spikes
        self.said: dict[int, str] = {}  # of the steps that stand out, since the last row
        self._unread: list[tuple[int, Any]] = []
        self._clear()

    def add(self, first: int, metrics: Any) -> None:
        """The metrics of one dispatch, on the device still: of step `first`, or with a leading axis, from it on."""
        self._unread.append((first, metrics))
        if len(self._unread) > UNREAD:
            self._read(self._unread[:-2])
            self._unread = self._unread[-2:]

    def settle(self) -> None:
        """Reads all that was said; waits for the device."""
        self._read(self._unread)
        self._unread = []

    def row(self) -> dict[str, float]:
        """The row that is due; the next begins empty."""
        self.settle()
        loss = self.total / self.made if self.made else self.last.get("loss", math.nan)
        row = {"loss": loss} | {name: value for name, value in self.last.items() if name != "loss"}
        if "skipped" in row:
            row["skipped"] = float(self.skipped)
        self._clear()
        return row

    def state(self) -> dict[str, Any]:
        """Plain numbers, for the checkpoint; reads all that was said."""
        self.settle()
        return {
            "total": self.total,
            "made": self.made,
            "skipped": self.skipped,
            "last": dict(self.last),
            "before": list(self.spikes.before),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from there; what was not read is forgotten."""
        self._unread = []
        self.total, self.made, self.skipped = float(state["total"]), int(state["made"]), int(state["skipped"])
        self.last = {name: float(value) for name, value in state["last"].items()}
        self.spikes.before = [float(loss) for loss in state["before"]]

    def _clear(self) -> None:
        self.total, self.made, self.skipped = 0.0, 0, 0
        self.last: dict[str, float] = {}
        self.said.clear()

    def _read(self, unread: list[tuple[int, Any]]) -> None:
        for first, metrics in zip([first for first, _ in unread], jax.device_get([one for _, one in unread])):
            columns = {name: np.atleast_1d(value).tolist() for name, value in metrics.items()}
            for i in range(len(columns["loss"])):
                self._step(first + i, {name: float(column[i]) for name, column in columns.items()})

    def _step(self, step: int, values: dict[str, float]) -> None:
        made = math.isfinite(values["loss"]) and not values.get("skipped", 0.0) > 0
        if made:
            self.total, self.made = self.total + values["loss"], self.made + 1
        else:
            self.skipped += 1
        if made or not self.made:
            self.last = values
        if said := self.spikes.step(step, values):
            self.said[step] = said
