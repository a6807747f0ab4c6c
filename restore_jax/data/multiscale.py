"""`Multiscale`: the photographs of another source, and the same ones smaller."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from restore_jax.data.pipeline import Source, sizes_of


@dataclass(frozen=True)
class Multiscale:
    """Photograph k of `source` at scale j is number `j len(source) + k`, reduced by Lanczos where scales[j] < 1.

    Few photographs show few things at one distance; smaller ones show the same things as from further away, with finer
    texture. `Pipeline.by_area` takes a photograph of half the size a quarter as often.

    Raises:
        ValueError: no scales, one outside (0, 1], or one twice.
    """

    source: Source
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)

    def __post_init__(self) -> None:
        if (
            not self.scales
            or not all(0 < scale <= 1 for scale in self.scales)
            or len(set(self.scales)) < len(self.scales)
        ):
            raise ValueError(f"Multiscale.scales are different numbers in (0, 1], not {self.scales!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The source's, with the scale behind where it is not 1."""
        return tuple(
            name if scale == 1 else f"{name} x{scale:g}" for scale in self.scales for name in self.source.names
        )

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each; the photographs are decoded once where the source does not say."""
        known = sizes_of(self.source)
        return tuple(_reduced(size, scale) for scale in self.scales for size in known)

    def __len__(self) -> int:
        return len(self.scales) * len(self.source)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        number = range(len(self))[index]  # raises the IndexError that ends a loop
        j, k = divmod(number, len(self.source))
        photo = self.source[k]
        if self.scales[j] == 1:
            return photo
        h, w = _reduced(photo.shape[:2], self.scales[j])
        return np.array(Image.fromarray(photo).resize((w, h), Image.Resampling.LANCZOS))


def _reduced(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    h, w = size
    return max(1, round(h * scale)), max(1, round(w * scale))


EXAMPLES = (
    {"name": "data.multiscale.Multiscale", "source": {"name": "data.sets.embedded.Embedded", "split": "heldout"}},
)
