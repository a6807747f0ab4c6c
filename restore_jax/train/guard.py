"""Watches the two players of a GAN by what they log, and says when one has lost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
        ValueError: `rows` below 1, or not `floor < 1 < ceiling`, or `least` outside [0, 1).
    """

    rows: int = 10
    floor: float = 0.02
    ceiling: float = 3.0
    least: float = 0.25

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"Guard.rows must be 1 or above, not {self.rows}.")
        if not 0 <= self.floor < 1 < self.ceiling:
            raise ValueError(f"Guard.floor and ceiling must be below and above 1, not {self.floor}, {self.ceiling}.")
        if not 0 <= self.least < 1:
            raise ValueError(f"Guard.least must be from 0 to below 1, not {self.least}.")

    def __call__(self, table: Sequence[Mapping[str, float]]) -> str:
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

    def _last(self, table: Sequence[Mapping[str, float]], name: str) -> list[float]:
        return [row[name] for row in table if name in row][-self.rows :]

    def _throughout(self, table: Sequence[Mapping[str, float]], name: str, bad) -> bool:
        last = self._last(table, name)
        return len(last) == self.rows and all(map(bad, last))

    def _say(self, table: Sequence[Mapping[str, float]], name: str, what: str) -> str:
        return f"{name} is {self._last(table, name)[-1]:.4g} and was for {self.rows} rows {what}."


EXAMPLES = ({"name": "train.guard.Guard", "rows": 5},)
