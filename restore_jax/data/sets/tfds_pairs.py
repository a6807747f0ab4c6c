"""`TfdsPairs`: the pairs of a prepared set, for evaluation."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from restore_jax.data.sets.tfds import Tfds


@dataclass(frozen=True)
class TfdsPairs:
    """Two image features of a TFDS set in ArrayRecord: `observed` and `clean`, which is `scale` times as large.

    A source of pairs as `Pairs`: `len(s)`, `s[i] -> (y, x)`, both uint8 `h w 3`, `s.names`. A photograph loses the rows
    and columns, fewer than `scale`, that its observation does not show, below and on the right.

    Raises:
        FileNotFoundError, ValueError: as `Tfds`, for each feature.
        ValueError: a pair of other sizes, when it is reached.
    """

    dataset: str
    split: str = "train"
    data_dir: str | None = None
    clean: str = "image"
    observed: str = "observed"
    scale: int = 1

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"TfdsPairs.scale must be a whole number from 1, not {self.scale}.")
        _ = self._clean, self._observed

    @cached_property
    def _clean(self) -> Tfds:
        return Tfds(self.dataset, self.split, self.data_dir, self.clean)

    @cached_property
    def _observed(self) -> Tfds:
        return Tfds(self.dataset, self.split, self.data_dir, self.observed)

    @property
    def names(self) -> tuple[str, ...]:
        """`dataset/split/number`."""
        return self._clean.names

    def __len__(self) -> int:
        return len(self._clean)

    def __getitem__(self, index: int) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "H W 3"]]:
        y, x = self._observed[index], self._clean[index]
        h, w = (side * self.scale for side in y.shape[:2])
        if not (h <= x.shape[0] < h + self.scale and w <= x.shape[1] < w + self.scale):
            raise ValueError(
                f"{self.names[index]}: the observation is {y.shape[0]}x{y.shape[1]} and the photograph "
                f"{x.shape[0]}x{x.shape[1]}, which is not TfdsPairs.scale = {self.scale} times as large."
            )
        return y, x[:h, :w]


EXAMPLES = ()  # needs a prepared set
