"""A restorer for each photograph, picked by what is wrong with it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, Restorer, split
from restore_jax.infer.estimate import ESTIMATES


@dataclass(frozen=True, eq=False)
class Rule:
    """Photographs whose `damage` (of `infer.estimate`) is at least `above` are `restorer`'s.

    Raises:
        ValueError: an unknown damage.
    """

    damage: Literal["noise", "blur", "blockiness"]
    above: float
    restorer: Restorer

    def __post_init__(self) -> None:
        if self.damage not in ESTIMATES:
            raise ValueError(f"Rule.damage is one of {', '.join(ESTIMATES)}, not {self.damage!r}.")


@dataclass(frozen=True, eq=False)
class Route:
    """The restorer of the first rule that holds for a photograph, or else `otherwise`; each picture on its own.

    The choice looks at numbers, so that it happens on the host, outside jit, and tiles go inside:
    `Route((Rule("noise", 0.02, Tile(denoiser)),), Tile(other))`. Noise that is fixed goes to whichever is picked; all
    must enlarge alike and draw alike.

    Raises:
        ValueError: the restorers have different scales, or draw different numbers of noise images.
    """

    rules: tuple[Rule, ...]
    otherwise: Restorer

    def __post_init__(self) -> None:
        for name in ("scale", "draws"):
            values = {getattr(one, name) for one in (*(rule.restorer for rule in self.rules), self.otherwise)}
            if len(values) > 1:
                raise ValueError(f"Route.rules must have restorers of one {name}, not {sorted(values)}.")

    @property
    def scale(self) -> int:
        """That of all of them."""
        return self.otherwise.scale

    @property
    def draws(self) -> int:
        """That of all of them."""
        return self.otherwise.draws

    def chosen(self, y: Any) -> tuple[Restorer, dict[str, float]]:
        """Whose a photograph `h w c` is, and the estimates that said so; each is made once."""
        found: dict[str, float] = {}
        for rule in self.rules:
            if rule.damage not in found:
                found[rule.damage] = ESTIMATES[rule.damage](np.asarray(y))
            if found[rule.damage] >= rule.above:
                return rule.restorer, found
        return self.otherwise, found

    def __call__(self, key: Keys, obs: Observation) -> Float[Array | np.ndarray, "*b h w c"]:
        """The restored photographs, on the host; y is `h w c` or a batch of them.

        Raises:
            ValueError: the observation has an operator.
        """
        if obs.operator is not None:
            raise ValueError(
                "Route.rules choose by pixels alone, and this observation has an operator: restore it whole."
            )
        y = np.asarray(obs.y)
        if y.ndim == 3:
            return self._one(key, y, obs)
        keys = split(key, len(y)) if key.ndim == 0 else key
        pictures = []
        for i, one in enumerate(y):
            cond = {name: a[i] if np.ndim(a) and np.shape(a)[0] == len(y) else a for name, a in obs.cond.items()}
            pictures.append(self._one(keys[i], one, obs.replace(y=one, cond=cond)))  # pyright: ignore[reportAttributeAccessIssue]
        return np.stack(pictures)

    def _one(self, key: Keys, y: np.ndarray, obs: Observation) -> np.ndarray:
        restorer, _ = self.chosen(y)
        add = {name: np.asarray(a)[None] for name, a in obs.cond.items()}
        given = Observation(y=y[None], noise_std=obs.noise_std, cond=add)
        return np.asarray(restorer(key, given))[0]
