"""`Recoloured`: the photographs of another source in all orders of their three channels."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from restore_jax.data.pipeline import Source, sizes_of

ORDERS = tuple(itertools.permutations(range(3)))  # the first leaves everything as it is


@dataclass(frozen=True)
class Recoloured:
    """Photograph k of `source` in order j of its channels is number `j len(source) + k`: six colours of each scene.

    What a net learns of edges and textures then hangs less on the colours that few photographs happen to have.

    Reference: Yoo et al. 2020, "Rethinking Data Augmentation for Image Super-resolution", section 3 (RGB permutation).
    """

    source: Source

    @property
    def names(self) -> tuple[str, ...]:
        """The source's, with the order behind where it is another."""
        said = ("" if order == ORDERS[0] else " " + "".join("rgb"[c] for c in order) for order in ORDERS)
        return tuple(f"{name}{order}" for order in said for name in self.source.names)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each."""
        return tuple(sizes_of(self.source)) * len(ORDERS)

    def __len__(self) -> int:
        return len(ORDERS) * len(self.source)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        j, k = divmod(range(len(self))[index], len(self.source))
        return np.ascontiguousarray(self.source[k][..., ORDERS[j]])


EXAMPLES = (
    {"name": "data.recoloured.Recoloured", "source": {"name": "data.sets.embedded.Embedded", "split": "heldout"}},
)
