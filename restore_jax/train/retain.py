"""Which checkpoints of a run stay on disk: the latest, the best, and one every so many images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Retain:
    """The rule by which checkpoints are kept; a checkpoint that any part of it wants stays.

        the newest `latest` of them
        the `best` of them by `values[metric]`, the highest (or lowest) first, of equals the newer
        for every multiple of `every_images`, the first one at or after it, for ever (0: none)

    A checkpoint saved without the metric, or with one that is not finite, is never among the best.

    Raises:
        ValueError: `latest` below 1, `best` or `every_images` below 0, or `best` without a `metric`.
    """

    latest: int = 2
    best: int = 0
    metric: str = "heldout_psnr"
    highest: bool = True
    every_images: int = 0

    def __post_init__(self) -> None:
        if self.latest < 1:
            raise ValueError(
                f"Retain.latest must be >= 1, not {self.latest}: a run goes on from its newest checkpoint."
            )
        if self.best < 0:
            raise ValueError(f"Retain.best must be >= 0, not {self.best}: give 0 to keep none for its metric.")
        if self.every_images < 0:
            raise ValueError(
                f"Retain.every_images must be >= 0, not {self.every_images}: give 0 to keep none for ever."
            )
        if self.best and not self.metric:
            raise ValueError(f"Retain.metric must name a number when Retain.best is {self.best}, not be ''.")

    def kept(self, saved: Mapping[int, Mapping[str, float]], batch_size: int) -> frozenset[int]:
        """The steps that stay of those `saved`, a mapping from step to the values it was saved with.

        Applied again to what it kept, it keeps all of it.
        """
        steps = sorted(saved)
        kept = set(steps[-self.latest :])
        ranked = [step for step in steps if math.isfinite(saved[step].get(self.metric, math.nan))]
        sign = 1 if self.highest else -1
        ranked.sort(key=lambda step: (sign * saved[step][self.metric], step), reverse=True)
        kept.update(ranked[: self.best])
        if self.every_images:
            passed = 0
            for step in steps:
                multiple = step * batch_size // self.every_images
                if multiple > passed:
                    passed = multiple
                    kept.add(step)
        return frozenset(kept)


EXAMPLES = ({"name": "train.retain.Retain", "latest": 1, "best": 1, "every_images": 64},)
