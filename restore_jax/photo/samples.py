"""What a picture file holds, upright and otherwise untouched: `Samples`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

Pixels = UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]
Alpha = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | Float32[np.ndarray, "h w"]
DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}


class PhotoWarning(UserWarning):
    """What a file says or holds and could not be kept; one line, which names the file."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Upright samples in the file's own colour space and depth, and what goes with them.

    Args:
        pixels: h w c; c is 1 (mode "L"), 3 ("RGB", "LAB") or 4 ("CMYK": 0 is no ink).
        alpha: of the same depth, or None. Colours under it are as the file has them.
        depth: 8, 16, or 32 for float, where 1 is white.
        mode: of `pixels`; palettes are RGB, 1 bit is L.
        icc: the colour profile.
        exif: the block without a prefix, its orientation 1.
        xmp: the packet.
        format: "JPEG", "PNG", "TIFF", ...; where the samples come from.
        extras: what only some formats have: "mode" (the file's), "dpi", "text", "gain_map", ...
        name: how errors call it.
    """

    pixels: Pixels
    alpha: Alpha | None = None
    depth: int = 8
    mode: str = "RGB"
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    format: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    name: str = "photograph"

    def __post_init__(self):
        if self.depth not in DTYPES or self.pixels.dtype != DTYPES[self.depth]:
            raise ValueError(f"Samples.depth is 8, 16 or 32, as {self.pixels.dtype} pixels say; it is {self.depth}.")
        channels = {"L": 1, "RGB": 3, "CMYK": 4, "LAB": 3}
        if channels.get(self.mode) != self.pixels.shape[-1]:
            raise ValueError(
                f"Samples.mode is L (1 channel), RGB, LAB (3) or CMYK (4); it is {self.mode} with "
                f"{self.pixels.shape[-1]}."
            )
        if self.alpha is not None and (self.alpha.dtype, self.alpha.shape) != (
            self.pixels.dtype,
            self.pixels.shape[:2],
        ):
            raise ValueError(
                f"Samples.alpha has the depth and size of the pixels ({self.pixels.dtype}, {self.pixels.shape[:2]}), "
                f"not {self.alpha.dtype}, {self.alpha.shape}."
            )

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels.shape[1]


def to_unit(levels: Pixels | Alpha) -> Float32[np.ndarray, "..."]:
    """Levels as float32, white 1."""
    if levels.dtype == np.float32:
        return levels
    return levels / np.float32(255 if levels.dtype == np.uint8 else 65535)


def to_levels(values: Float32[np.ndarray, "..."], depth: int) -> Pixels | Alpha:
    """The nearest levels of a depth, halves upwards, cut to its range; float stays as it is."""
    if depth == 32:
        return values
    white = np.float32(255 if depth == 8 else 65535)
    return np.floor(np.clip(values, 0, 1) * white + np.float32(0.5)).astype(DTYPES[depth])


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """A stored array as the photographer saw it, by its EXIF orientation."""
    turned = array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned if orientation == 1 else np.ascontiguousarray(turned)
