"""Rules that find by its own table that a run goes wrong: any run (`Divergence`), the two players of a GAN (`Guard`).

A rule is `config.guard`: where it answers with a sentence, the loop goes back to a checkpoint from before the last
`rows` rows, and on from there at `slower` times the rate, `times` times at most (`train.rollback`).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Rule(Protocol):
    """What finds a run going wrong, over how many rows, and how often the loop may go back for it."""

    @property
    def rows(self) -> int:
        """How many rows in a row it takes."""
        ...

    @property
    def times(self) -> int:
        """How often a run may go back."""
        ...

    @property
    def slower(self) -> float:
        """The factor on the rate after each time."""
        ...

    def __call__(self, table: Sequence[Mapping[str, float | int]]) -> str:
        """Why the run must go back, in a sentence; empty where it need not."""
        ...


@dataclass(frozen=True)
class Divergence:
    """The loss is not finite, or has been far above what it was for several rows of the table.

        the last row's loss is not finite (no step of that row could be made)           at once
        loss > factor * median(the `history` rows before)  in each of the last `rows` rows

    The second rule needs as many rows before as it judges, and a median above 0: a loss that may be negative has no
    scale. One photograph that is hard does not trip it; `train.spikes` writes that one down.

    Raises:
        ValueError: `factor` or `slower` that would change nothing, or counts below 1 (`times` below 0).
    """

    factor: float = 10.0
    rows: int = 5
    history: int = 100
    times: int = 3
    slower: float = 0.5

    def __post_init__(self) -> None:
        if not 1 < self.factor < math.inf:
            raise ValueError(f"Divergence.factor must be above 1, not {self.factor}.")
        if self.rows < 1 or self.history < self.rows:
            raise ValueError(
                f"Divergence.rows must be 1 or above and history rows or above, not {self.rows} and {self.history}."
            )
        _bounded(self)

    def __call__(self, table: Sequence[Mapping[str, float | int]]) -> str:
        """Why the run must go back, in a sentence; empty where it need not."""
        rows = [row for row in table[-2 * (self.rows + self.history) :] if "loss" in row]
        if not rows:
            return ""
        loss, step = rows[-1]["loss"], rows[-1].get("step", "?")
        if not math.isfinite(loss):
            return f"the loss is {loss} at step {step}"
        before = [row["loss"] for row in rows[: -self.rows] if math.isfinite(row["loss"])][-self.history :]
        if len(before) < self.rows or (median := statistics.median(before)) <= 0:
            return ""
        if all(row["loss"] > self.factor * median for row in rows[-self.rows :]):
            return (
                f"the loss is {loss:.4g} at step {step} and was above {self.factor:g} times its median, {median:.4g}, "
                f"for {self.rows} rows"
            )
        return ""


def _bounded(rule: Rule) -> None:
    if rule.times < 0 or not 0 < rule.slower <= 1:
        raise ValueError(
            f"{type(rule).__name__}.times must be 0 or above and slower in (0, 1], not {rule.times} and {rule.slower}."
        )


@dataclass(frozen=True)
class Guard:
    """The rule by which a GAN has collapsed, over the rows of a run's table (`methods.rival` logs what it needs).

        any number is not finite                                           diverged
        balance < floor        in each of the last `rows` rows             the discriminator knows all of both
        balance > ceiling      in each of the last `rows` rows             the discriminator is worse than none
        spread < least         in each of the last `rows` rows             the generator answers nothing but grey

    `balance` is the discriminator's loss over that of one that cannot tell, `spread` the variance of x_hat over that of
    x. Rows without a number (previews) do not count for its rule. A rule of thumb, said in numbers: a discriminator
    that wins is not a mistake by itself, one that wins for good has nothing left to teach.

    Raises:
        ValueError: `rows` below 1, not `floor < 1 < ceiling`, `least` outside [0, 1), `times` below 0, or `slower`
            outside (0, 1].
    """

    rows: int = 10
    floor: float = 0.02
    ceiling: float = 3.0
    least: float = 0.25
    times: int = 3
    slower: float = 0.5

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"Guard.rows must be 1 or above, not {self.rows}.")
        if not 0 <= self.floor < 1 < self.ceiling:
            raise ValueError(f"Guard.floor and ceiling must be below and above 1, not {self.floor}, {self.ceiling}.")
        if not 0 <= self.least < 1:
            raise ValueError(f"Guard.least must be from 0 to below 1, not {self.least}.")
        _bounded(self)

    def __call__(self, table: Sequence[Mapping[str, float | int]]) -> str:
        """Why the run has collapsed, in a sentence; empty where it has not."""
        for row in table:
            for name, value in row.items():
                if not math.isfinite(value):
                    return f"{name} is {value} at step {row.get('step', '?')}: the players have diverged."
        if self._throughout(table, "balance", lambda value: value < self.floor):
            return self._say(table, "balance", f"below {self.floor}: the discriminator tells everything apart")
        if self._throughout(table, "balance", lambda value: value > self.ceiling):
            return self._say(table, "balance", f"above {self.ceiling}: the discriminator is worse than none")
        if self._throughout(table, "spread", lambda value: value < self.least):
            return self._say(table, "spread", f"below {self.least}: the generator's pictures lose their contrast")
        return ""

    def _last(self, table: Sequence[Mapping[str, float | int]], name: str) -> list[float]:
        return [row[name] for row in table if name in row][-self.rows :]

    def _throughout(self, table: Sequence[Mapping[str, float | int]], name: str, bad) -> bool:
        last = self._last(table, name)
        return len(last) == self.rows and all(map(bad, last))

    def _say(self, table: Sequence[Mapping[str, float | int]], name: str, what: str) -> str:
        return f"{name} is {self._last(table, name)[-1]:.4g} and was for {self.rows} rows {what}."


EXAMPLES = (
    {"name": "train.guard.Divergence", "rows": 3},
    {"name": "train.guard.Guard", "rows": 5},
)
