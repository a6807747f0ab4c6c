"""Steps whose loss stands out, and the photographs they were made of.

    workdir/spikes.jsonl    step, images, loss, median, reason, photographs, not_finite

`photographs` are all of the step's batch; `not_finite` those of them whose observation, made again by the step's own
keys, holds a number that is not finite: the degradation is to blame, and the photograph at hand.
"""

import dataclasses
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.core import Degradation, split
from restore_jax.data.pipeline import Pipeline, to_float


@dataclass(frozen=True)
class Spikes:
    """The rule: a step was skipped, its loss is not finite, or `loss > factor * median(the `last` losses before)`.

    The median needs ten losses and to be above 0. At most `at_most` rows are written, which a run that has gone wrong
    would fill the disk with otherwise.

    Raises:
        ValueError: a factor that is not above 1, or fewer than 10 losses.
    """

    factor: float = 4.0
    last: int = 100
    at_most: int = 1_000

    def __post_init__(self) -> None:
        if not 1 < self.factor < math.inf:
            raise ValueError(f"Spikes.factor must be above 1, not {self.factor}.")
        if self.last < LEAST or self.at_most < 0:
            raise ValueError(
                f"Spikes.last must be {LEAST} or above and at_most 0 or above, not {self.last} and {self.at_most}."
            )

    def reason(self, loss: float, skipped: bool, before: Sequence[float]) -> str:
        """Why a step stands out among the losses before it; empty where it does not."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if skipped:
            return "the gradient is not finite"
        if len(before) < LEAST or (median := statistics.median(before)) <= 0:
            return ""
        return f"the loss is {loss / median:.3g} times the median" if loss > self.factor * median else ""


LEAST = 10  # losses that a median is taken of
LOOKED_INTO = 20  # steps of a start whose degradation is run again, one at a time


class SpikeLog:
    """Writes down steps of a run (of `seed`) that stand out; `before` are the losses the next is held against."""

    def __init__(
        self,
        workdir: str | Path,
        rule: Spikes,
        pipeline: Pipeline,
        degrade: Degradation,
        seed: int,
        *,
        writes: bool = True,
    ):
        self.path, self.rule = Path(workdir) / "spikes.jsonl", rule
        self.key = jax.random.split(jax.random.key(seed), 3)[2]  # TrainState.key, by `train.step.create_state`
        # The whole batch, whichever process reads it: the rows of the others are named too.
        self.pipeline = dataclasses.replace(pipeline, process_index=0, process_count=1)
        self.attempt, self.writes, self.degrade = 0, writes, degrade
        self.before: list[float] = []
        self._looked_into, self._rows = 0, 0

    def resume(self, step: int, attempt: int) -> None:
        """Goes on after a step: rows of steps that will be made again go, those of attempts given up stay."""
        self.attempt = attempt
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
        kept = [line for line, row in rows if row["step"] <= step or row["attempt"] < attempt]
        self._rows = len(kept)
        if self.writes and len(kept) < len(lines):
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(kept), encoding="utf-8")
            os.replace(partial, self.path)

    def step(self, step: int, values: Mapping[str, float]) -> str:
        """Judges one step by what it logged; the sentence to say aloud, empty where it does not stand out."""
        loss, skipped = values["loss"], values.get("skipped", 0.0) > 0
        reason = self.rule.reason(loss, skipped, self.before)
        if reason and self.writes and self._rows < self.rule.at_most:
            self._write(step, loss, reason, look=skipped or not math.isfinite(loss))
        if math.isfinite(loss) and not skipped:
            self.before = [*self.before, loss][-self.rule.last :]
        return f"Step {step}: {reason}; its photographs are in {self.path.name}." if reason else ""

    def photographs(self, step: int) -> list[str]:
        """The photographs that a step was made of, by name, in the order of its batch."""
        return [str(name) for name in self.pipeline.photos(step - 1)]

    def not_finite(self, step: int) -> list[str]:
        """The photographs of a step whose observation is not finite; costs the degradation of one batch."""
        x = to_float(self.pipeline[step - 1])
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(self.key, step - 1), jnp.arange(x.shape[0]))
        obs = jax.jit(jax.vmap(self.degrade))(split(keys)[0], x)
        floats = [leaf for leaf in jax.tree.leaves((obs.y, dict(obs.cond))) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        bad = [~np.isfinite(np.asarray(leaf, np.float32)).reshape(x.shape[0], -1).all(axis=1) for leaf in floats]
        names = self.photographs(step)
        return [names[i] for i in np.flatnonzero(np.any(bad, axis=0))]

    def blame(self, step: int) -> str:
        """Where a number that is not finite came from, the degradation or the method; a sentence."""
        if names := self.not_finite(step):
            listed = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            return f"the degradation (config.degrade) makes numbers that are not finite of {listed}."
        return (
            "all observations are finite, so look at the method (config.method): the scale of its loss, its precision, "
            "what it starts from (config.start)."
        )

    def _write(self, step: int, loss: float, reason: str, look: bool) -> None:
        row: dict[str, Any] = {
            "step": step,
            "images": step * self.pipeline.batch_size,
            "loss": loss if math.isfinite(loss) else None,
            "median": statistics.median(self.before) if self.before else None,
            "reason": reason,
            "photographs": self.photographs(step),
            "attempt": self.attempt,
        }
        if look and self._looked_into < LOOKED_INTO:
            self._looked_into += 1
            row["not_finite"] = self.not_finite(step)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._rows += 1


EXAMPLES = ({"name": "train.spikes.Spikes", "factor": 3.0, "last": 20},)
