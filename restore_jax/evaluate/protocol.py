"""How a number was made, as data. Two numbers with different stamps do not belong in one column."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax import __version__
from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.ops.color import studio_luma


@dataclass(frozen=True)
class Protocol:
    """Photographs, what is done to them, and how restorations are compared with them.

    Either `photographs` and `degrade`: each photograph is cropped at the lower right to a multiple of `multiple`, and
    photograph i degraded with key `fold_in(key(seed), i)`, the same for every restorer. Or `pairs`, a source of stored
    observations and photographs (`data.sets.pairs.Pairs`), which are taken as they are.

    Restorations are clipped to [0, 1], rounded to 8 bits where `quantize`, cut by `border_px` on each side, and
    compared in `color`: "rgb", or "luma", the Y of MATLAB's `rgb2ycbcr` in [16, 235] / 255, of the rounded picture and
    not rounded again. The range of numbers is 1 in both. Means are taken over photographs, each with the same weight.

    Raises:
        ValueError: neither or both of `degrade` and `pairs`, or a field out of its range.
    """

    photographs: dict[str, Any] | None = None
    degrade: dict[str, Any] | None = None
    seed: int = 0
    multiple: int = 2
    quantize: bool = True
    border_px: int = 0
    color: Literal["rgb", "luma"] = "rgb"
    pairs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        synthetic = self.photographs is not None and self.degrade is not None
        if synthetic == (self.pairs is not None) or (self.photographs is None) != (self.degrade is None):
            raise ValueError("Protocol takes photographs and degrade, or pairs: one of the two, whole.")
        if self.color not in ("rgb", "luma"):
            raise ValueError(f'Protocol.color must be "rgb" or "luma", not {self.color!r}.')
        for name, least in (("multiple", 1), ("border_px", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"Protocol.{name} must be {least} or more, not {getattr(self, name)}.")

    @cached_property
    def cases(self) -> list[tuple[str, Observation, np.ndarray]]:
        """Name, observation and clean `x [h, w, c]` of each photograph; made once."""
        if self.pairs is not None:
            source = build(self.pairs, "protocol.pairs")
            pairs = ((name, *source[i]) for i, name in enumerate(source.names))
            return [(name, Observation(y=jnp.asarray(_unit(y))), _unit(x)) for name, y, x in pairs]
        source = build(self.photographs, "protocol.photographs")
        degrade = jax.jit(build(self.degrade, "protocol.degrade"))
        cases = []
        for i, name in enumerate(source.names):
            photo = np.asarray(source[i])
            h, w = (side // self.multiple * self.multiple for side in photo.shape[:2])
            x = _unit(photo[:h, :w])
            cases.append((name, degrade(jax.random.fold_in(jax.random.key(self.seed), i), x), x))
        return cases

    @cached_property
    def pictures(self) -> str:
        """A short hash of the photographs in their order, and of stored observations: pixels, not files."""
        digest = hashlib.sha256()
        for _, obs, x in self.cases:
            for picture in (x, np.asarray(obs.y))[: 2 if self.pairs is not None else 1]:
                digest.update(f"{picture.shape}".encode() + np.rint(picture * 255).astype(np.uint8).tobytes())
        return digest.hexdigest()[:12]

    def compared(self, picture: np.ndarray) -> np.ndarray:
        """The part of a picture that is compared, as it is compared."""
        picture = np.clip(np.asarray(picture, np.float32), 0.0, 1.0)
        if self.quantize:
            picture = np.floor(picture * 255 + 0.5) / np.float32(255)
        b = self.border_px
        if 2 * b >= min(picture.shape[:2]):
            raise ValueError(f"Protocol.border_px = {b} leaves nothing of a picture of {picture.shape[:2]}.")
        picture = picture[b : picture.shape[0] - b, b : picture.shape[1] - b]
        return np.asarray(_luma(jnp.asarray(picture))) if self.color == "luma" else picture

    @property
    def convention(self) -> str:
        """What a reader of the numbers must know, in a line."""
        how = "stored observations" if self.pairs is not None else f"degraded by {self.degrade}"
        color = "luma" if self.color == "luma" else "RGB"
        bits = "rounded to 8 bits" if self.quantize else "not rounded"
        return f"{color}, border {self.border_px}, data range 1, {bits}, seed {self.seed}, {how}"

    def stamp(self) -> dict[str, Any]:
        """The protocol, the library's version, and a short hash of both, to print beside every number.

        Where standard sets lie (`root`) is left out: it differs from machine to machine, and no number by it.
        """
        fields = json.loads(json.dumps(asdict(self))) | {"restore_jax": __version__, "data_range": 1}
        for source in ("photographs", "pairs"):
            if fields[source] is not None:
                fields[source].pop("root", None)
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
        return fields | {"hash": digest}


_luma = jax.jit(studio_luma)


def _unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255
