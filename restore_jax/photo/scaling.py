"""Another size for what goes beside a restorer (alpha, out-of-gamut colours), band by band: `Scaling`."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from PIL import Image


@dataclass(frozen=True)
class Scaling:
    """From one size to another, bicubic, averaging where it shrinks."""

    source_height: int
    source_width: int
    height: int
    width: int

    def __post_init__(self):
        for name in ("source_height", "source_width", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"Scaling.{name} is at least 1, not {getattr(self, name)}.")

    @property
    def same(self) -> bool:
        """Whether nothing changes."""
        return (self.source_height, self.source_width) == (self.height, self.width)

    def needed(self, top: int, bottom: int) -> tuple[int, int]:
        """The source rows that the rows `top` to `bottom` depend on."""
        if self.same:
            return top, bottom
        ratio = self.source_height / self.height
        margin = int(np.ceil(2 * max(ratio, 1.0))) + 1  # the cubic kernel reaches 2 pixels of the coarser grid
        return (
            max(int(top * ratio) - margin, 0),
            min(int(np.ceil(bottom * ratio)) + margin, self.source_height),
        )

    def rows(self, source: Float32[np.ndarray, "n w c"], top: int, bottom: int) -> Float32[np.ndarray, "m W c"]:
        """The rows `top` to `bottom`, from the source rows `needed(top, bottom)`."""
        if self.same:
            return source
        first, last = self.needed(top, bottom)
        ratio = self.source_height / self.height
        box = (0.0, top * ratio - first, float(self.source_width), min(bottom * ratio - first, float(last - first)))
        planes = [Image.fromarray(np.ascontiguousarray(source[..., i])) for i in range(source.shape[-1])]
        size = (self.width, bottom - top)
        return np.stack([np.asarray(p.resize(size, Image.Resampling.BICUBIC, box=box)) for p in planes], axis=-1)
