"""How a number was made, as data. Two numbers with different stamps do not belong in one column."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from restore_jax import __version__
from restore_jax.build import build
from restore_jax.core import Observation


@dataclass(frozen=True)
class Protocol:
    """Photographs, what is done to them, and how restorations are compared with them.

    Each photograph is cropped at the lower right to a multiple of `multiple`; photograph i is degraded
    with key `fold_in(key(seed), i)`, the same for every restorer. Restorations are clipped to [0, 1],
    rounded to 8 bits where `quantize`, cut by `border_px` on each side, and compared in RGB. Means are
    taken over photographs, each with the same weight.
    """

    photographs: dict[str, Any]
    degrade: dict[str, Any]
    seed: int = 0
    multiple: int = 2
    quantize: bool = True
    border_px: int = 0

    @cached_property
    def cases(self) -> list[tuple[str, Observation, np.ndarray]]:
        """Name, observation and clean `x [h, w, c]` of each photograph; made once."""
        source = build(self.photographs, "protocol.photographs")
        degrade = jax.jit(build(self.degrade, "protocol.degrade"))
        cases = []
        for i, name in enumerate(source.names):
            photo = np.asarray(source[i])
            h, w = (side // self.multiple * self.multiple for side in photo.shape[:2])
            x = photo[:h, :w].astype(np.float32) / 255
            cases.append((name, degrade(jax.random.fold_in(jax.random.key(self.seed), i), x), x))
        return cases

    def compared(self, picture: np.ndarray) -> np.ndarray:
        """The part of a picture that is compared, as it is compared."""
        picture = np.clip(np.asarray(picture, np.float32), 0.0, 1.0)
        if self.quantize:
            picture = np.floor(picture * 255 + 0.5) / np.float32(255)
        b = self.border_px
        return picture[b : picture.shape[0] - b, b : picture.shape[1] - b]

    def stamp(self) -> dict[str, Any]:
        """The protocol, the library's version, and a short hash of both, to print beside every number."""
        fields = json.loads(json.dumps(asdict(self))) | {"restore_jax": __version__, "color": "rgb"}
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
        return fields | {"hash": digest}
