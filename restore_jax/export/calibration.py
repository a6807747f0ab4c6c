"""Photographs as inputs of a graph: to choose 8-bit ranges by, and to compare a file with its graph on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from restore_jax.build import build
from restore_jax.export.graph import Graph

EMBEDDED = {"name": "data.sets.embedded.Embedded", "split": "train"}
HELDOUT = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
ENOUGH = 8  # fewer leave out dark, light or busy pictures, and what they leave out is clipped


class CalibrationError(ValueError):
    """Too few photographs to choose ranges by."""


def photographs(folder: str | Path | None = None, least: int = ENOUGH) -> Any:
    """The source of photographs in `folder`, or the embedded ones.

    Raises:
        CalibrationError: fewer than `least` are there.
    """
    source = build(EMBEDDED if folder is None else {"name": "data.sets.folder.Folder", "path": str(folder)})
    if len(source) < least:
        raise CalibrationError(
            f"calibrate: {folder} has {len(source)} photographs, and {least} or more are needed, as different as those "
            "that will be restored; add some, or leave the folder out to use those that come with the library."
        )
    return source


def crop(photograph: np.ndarray, height: int, width: int, channels: int = 3) -> np.ndarray:
    """The middle of a photograph as `1 h w c`, 8 bits, continued by its mirror image where it is too small."""
    h, w, _ = photograph.shape
    pad = [(0, max(0, height - h)), (0, max(0, width - w)), (0, 0)]
    whole = np.pad(photograph, pad, mode="symmetric")
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    part = whole[None, top : top + height, left : left + width]
    return part if channels == 3 else np.repeat(part[..., 1:2], channels, axis=-1)


def inputs(graph: Graph, picture: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays that `graph` takes for an 8-bit picture `1 h w c`: `y` in its type, the rest standard normal."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, spec in graph.inputs.items():
        if name == "y":
            arrays[name] = picture if spec.dtype == np.uint8 else picture.astype(np.float32) / 255
        else:
            arrays[name] = rng.standard_normal(spec.shape).astype(np.float32)
    return arrays


def calibration(graph: Graph, source: Any) -> Iterator[dict[str, np.ndarray]]:
    """The inputs of `graph` for each photograph of `source`, the noise another one each time."""
    _, h, w, c = graph.inputs["y"].shape
    for number in range(len(source)):
        yield inputs(graph, crop(np.asarray(source[number]), h, w, c), seed=number)
