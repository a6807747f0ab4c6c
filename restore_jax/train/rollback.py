"""Going back: a run that its guard finds diverged starts again from a good checkpoint, at a lower rate.

    workdir/rollbacks.jsonl    a row each time: the reason, the step it was found at, the step gone back to, the rate

`aux["rate"]` multiplies the updates of the optimiser and `aux["rollbacks"]` counts; both are in each checkpoint. The
file remembers what was decided after the checkpoint that a run goes back to: it is killed and started again, and still
knows that it has tried.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from restore_jax.core import TrainState
from restore_jax.train.guard import Rule


class Diverged(FloatingPointError):
    """A run that cannot go on; the message says what was seen and what was tried."""


class Rollbacks:
    """How often a run has gone back, and where to; for `rule`, or for none."""

    def __init__(self, workdir: str | Path, rule: Rule | None, writes: bool = True):
        self.rule, self.writes = rule, writes
        self.path = Path(workdir) / "rollbacks.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def count(self) -> int:
        """How often the run has gone back so far."""
        return len(self.rows)

    @property
    def rate(self) -> float:
        """What the rate is multiplied by from here on."""
        return float(self.rows[-1]["rate"]) if self.rows else 1.0

    def remembered(self, state: TrainState) -> TrainState:
        """The state with the rate and the count that are due; one that is as late as the file stays as it is."""
        if int(state.aux.get("rollbacks", -1)) >= self.count:
            return state
        told = {"rate": jnp.asarray(self.rate, jnp.float32), "rollbacks": jnp.asarray(self.count, jnp.int32)}
        return state.replace(aux={**state.aux, **told})

    def reason(self, table: Sequence[Mapping[str, float | int]]) -> str:
        """What the rule says of the table."""
        return self.rule(table) if self.rule else ""

    def target(self, table: Sequence[Mapping[str, float | int]], steps: Sequence[int]) -> int:
        """The checkpoint of `steps` to go back to: the newest from before the rows that were judged.

        Where none is so old, the oldest there is; 0, the start, where there is none at all.
        """
        judged = [int(row["step"]) for row in table if "loss" in row]
        rows = self.rule.rows if self.rule else 1
        since = judged[-rows:][0] if judged else 0
        return max((step for step in steps if step < since), default=min(steps, default=0))

    def note(self, reason: str, found: int, target: int) -> str:
        """Counts one more, on disk before the run goes on; the sentence that says so.

        Raises:
            Diverged: it has been tried often enough, or there is no rule that would allow it.
        """
        reason = reason.rstrip(".")
        times, slower = (self.rule.times, self.rule.slower) if self.rule else (0, 1.0)
        if self.count >= times:
            moves = [(row["found"], row["to"], row["rate"]) for row in self.rows]
            tried = "".join(f" Went back from step {found} to step {to}, rate x {rate:g}." for found, to, rate in moves)
            raise Diverged(
                f"The run has diverged: {reason}.{tried} Lower the learning rate (config.optim), raise its warm-up, or "
                "look at the photographs that spikes.jsonl names; checkpoints from before are kept."
            )
        row = {"number": self.count + 1, "reason": reason, "found": found, "to": target, "rate": self.rate * slower}
        self.rows.append(row)
        if self.writes:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return (
            f"{reason[0].upper()}{reason[1:]}: back to step {target}, {self.count} of {times} times, "
            f"and on at {self.rate:g} times the rate."
        )
