"""Optimisers, their rates counted in images, so that a change of batch size changes no schedule.

    rate(images) = peak * warm-up(images) * decay(images)

The warm-up is a line from 0 to 1. A decay is a spec (`AdamW.decay`): Constant, Cosine, Linear, Steps or Restarts;
without one, the cosine begins where the warm-up ends.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from restore_jax.core import PyTree


@runtime_checkable
class Optimizer(Protocol):
    """What makes the optimiser of a run, given its lengths in images."""

    def transform(self, batch_size: int, total_images: int) -> optax.GradientTransformation:
        """The optimiser for a run of `total_images`."""
        ...


@runtime_checkable
class Decay(Protocol):
    """What share of the peak rate is left after so many images of a run."""

    def factor(self, images: Float[Array, "*b"], total_images: int) -> Float[Array, "*b"]:
        """The share, from 0 to 1."""
        ...


@dataclass(frozen=True)
class Constant:
    """`1` throughout."""

    def factor(self, images: Float[Array, "*b"], total_images: int) -> Float[Array, "*b"]:
        """The share, from 0 to 1."""
        del total_images
        return jnp.ones_like(images)


@dataclass(frozen=True)
class Cosine:
    """`final + (1 - final) (1 + cos(pi images / total)) / 2`.

    Reference: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        _share(self, "final")

    def factor(self, images: Float[Array, "*b"], total_images: int) -> Float[Array, "*b"]:
        """The share, from 0 to 1."""
        return _cosine(images / total_images, self.final)


@dataclass(frozen=True)
class Linear:
    """`1` until `hold_images`, then a line down to `final` at the end of the run."""

    final: float = 0.0
    hold_images: int = 0

    def __post_init__(self) -> None:
        _share(self, "final")
        if self.hold_images < 0:
            raise ValueError(f"Linear.hold_images must be 0 or above, not {self.hold_images}.")

    def factor(self, images: Float[Array, "*b"], total_images: int) -> Float[Array, "*b"]:
        """The share, from 0 to 1."""
        way = (images - self.hold_images) / max(1, total_images - self.hold_images)
        return 1 - (1 - self.final) * jnp.clip(way, 0, 1)


@dataclass(frozen=True)
class Steps:
    """`by^k` from the k-th of `at_images` on: the multi-step rule of most super-resolution papers."""

    at_images: tuple[int, ...]
    by: float = 0.5

    def __post_init__(self) -> None:
        if not self.at_images or list(self.at_images) != sorted(set(self.at_images)) or self.at_images[0] < 1:
            raise ValueError(f"Steps.at_images must be one number or more, each above the last, not {self.at_images}.")
        _share(self, "by")

    def factor(self, images: Float[Array, "*b"], total_images: int) -> Float[Array, "*b"]:
        """The share, from 0 to 1."""
        del total_images
        passed = sum((images >= at).astype(jnp.float32) for at in self.at_images)
        return jnp.asarray(self.by, jnp.float32) ** passed


@dataclass(frozen=True)
class Restarts:
    """A cosine over each of `periods_images` in turn, begun at its own weight; the last value stays after them.

    `weights[k] (final + (1 - final) (1 + cos(pi t)) / 2)`, t the way through period k; no weights are all 1.

    Reference: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5.
    """

    periods_images: tuple[int, ...]
    weights: tuple[float, ...] = ()
    final: float = 0.0

    def __post_init__(self) -> None:
        if not self.periods_images or min(self.periods_images) < 1:
            raise ValueError(f"Restarts.periods_images must be one length or more above 0, not {self.periods_images}.")
        if self.weights and len(self.weights) != len(self.periods_images):
            raise ValueError(
                f"Restarts.weights must be one a period, {len(self.periods_images)}, or none, not {self.weights}."
            )
        _share(self, "final")

    def factor(self, images: Float[Array, "*b"], total_images: int) -> Float[Array, "*b"]:
        """The share, from 0 to 1."""
        del total_images
        ends = np.cumsum(self.periods_images)
        last = len(ends) - 1
        period = jnp.minimum(jnp.searchsorted(jnp.asarray(ends, jnp.float32), images, side="right"), last)
        length = jnp.asarray(self.periods_images, jnp.float32)[period]
        begin = jnp.asarray(ends - self.periods_images, jnp.float32)[period]
        weight = jnp.asarray(self.weights or (1.0,) * len(ends), jnp.float32)[period]
        return weight * _cosine((images - begin) / length, self.final)


def _cosine(way: Array, final: float) -> Array:
    return final + (1 - final) * (1 + jnp.cos(jnp.pi * jnp.clip(way, 0, 1))) / 2


def _share(decay: Any, field: str) -> None:
    if not 0 <= (value := getattr(decay, field)) <= 1:
        raise ValueError(f"{type(decay).__name__}.{field} must be in [0, 1], not {value}.")


@dataclass(frozen=True)
class AdamW:
    """AdamW behind a clip of the gradient's global norm, with warm-up and cosine decay to `final` times the rate.

    `decay` puts another rule (`Constant`, `Cosine`, `Linear`, `Steps`, `Restarts`) in the cosine's place, counted from
    the first image of the run, under the warm-up.

    Raises:
        ValueError: a negative rate or warm-up, or both a `decay` and a `final`.

    Reference: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    rate: float = 2e-4
    warmup_images: int = 0
    final: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0
    decay: Decay | None = None

    def __post_init__(self) -> None:
        if self.rate < 0 or self.warmup_images < 0:
            raise ValueError(
                f"AdamW.rate and warmup_images must be 0 or above, not {self.rate} and {self.warmup_images}."
            )
        if self.decay is not None and self.final:
            raise ValueError(f"AdamW.final must be 0 beside AdamW.decay, not {self.final}: the decay has its own.")

    def schedule(self, batch_size: int, total_images: int) -> optax.Schedule:
        """The rate of each step."""
        steps = max(1, total_images // batch_size)
        if self.decay is not None:
            return lambda step: self._decayed(jnp.asarray(step, jnp.float32) * batch_size, total_images)
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if self.warmup_images else self.rate,
            peak_value=self.rate,
            warmup_steps=min(self.warmup_images // batch_size, steps - 1),
            decay_steps=steps,
            end_value=self.rate * self.final,
        )

    def _decayed(self, images: Array, total_images: int) -> Array:
        assert self.decay is not None
        warm = jnp.minimum(images / self.warmup_images, 1) if self.warmup_images else 1.0
        return self.rate * warm * self.decay.factor(images, total_images)

    def rates(self, batch_size: int, total_images: int) -> dict[str, optax.Schedule]:
        """The rate of each step, for the log."""
        return {"rate": self.schedule(batch_size, total_images)}

    def transform(self, batch_size: int, total_images: int) -> optax.GradientTransformation:
        """The optimiser for a run of `total_images`."""
        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.adamw(
                self.schedule(batch_size, total_images),
                b1=self.b1,
                b2=self.b2,
                weight_decay=self.weight_decay,
            ),
        )


@dataclass(frozen=True)
class Every:
    """`optim` at each `k`-th step only; at the others nothing moves, moments and schedule included.

    A step of it counts for k batches of images, so that its rate stays a function of images seen. The first move is at
    step k, after the other players have moved k times. The gradients between are not averaged, they are not used.

    Raises:
        ValueError: k is below 1.
    """

    optim: Optimizer
    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Every.k must be 1 or above, not {self.k}.")

    def transform(self, batch_size: int, total_images: int) -> optax.GradientTransformation:
        """The optimiser for a run of `total_images`."""
        inner = self.optim.transform(self.k * batch_size, total_images)

        def moves(step: Any, **extra: Any) -> Any:
            return (step + 1) % self.k == 0

        return optax.transforms.conditionally_mask(inner, moves)

    def rates(self, batch_size: int, total_images: int) -> dict[str, optax.Schedule]:
        """The rate of each step, for the log; between moves, that of the next."""

        def held(schedule: optax.Schedule) -> optax.Schedule:
            return lambda step: schedule(jnp.asarray(step) // self.k)

        return {name: held(one) for name, one in rates(self.optim, self.k * batch_size, total_images).items()}


@dataclass(frozen=True)
class Players:
    """An optimiser for each top-level name of a method's parameters, which know nothing of each other.

    Two players need two: each has its rate, its moments, the clip of its own gradient, and its pace (`Every`).

    Raises:
        ValueError: the names are not those of the method's parameters.
    """

    optims: Mapping[str, Optimizer]

    def transform(self, batch_size: int, total_images: int) -> optax.GradientTransformation:
        """The optimiser for a run of `total_images`."""

        def labels(params: PyTree) -> PyTree:
            if set(params) != set(self.optims):
                raise ValueError(
                    f"Players.optims must name the players of the method, {sorted(params)}, not {sorted(self.optims)}."
                )
            return {name: name for name in params}

        each: dict[Hashable, optax.GradientTransformation] = {
            name: optim.transform(batch_size, total_images) for name, optim in self.optims.items()
        }
        return optax.multi_transform(each, labels)

    def rates(self, batch_size: int, total_images: int) -> dict[str, optax.Schedule]:
        """The rate of each player and step, for the log: `rate_generator`, ..."""
        each = {player: rates(optim, batch_size, total_images) for player, optim in self.optims.items()}
        return {f"{name}_{player}": one for player, own in each.items() for name, one in own.items()}


def rates(optim: Optimizer, batch_size: int, total_images: int) -> dict[str, optax.Schedule]:
    """What `optim` says of its rates, by name; nothing where it says nothing. Skipped steps are not counted off."""
    return getattr(optim, "rates", lambda *_: {})(batch_size, total_images)


EXAMPLES = (
    {"name": "train.optim.Constant"},
    {"name": "train.optim.Cosine", "final": 0.1},
    {"name": "train.optim.Linear", "hold_images": 100},
    {"name": "train.optim.Steps", "at_images": (200, 400)},
    {"name": "train.optim.Restarts", "periods_images": (200, 400), "weights": (1.0, 0.5)},
    {"name": "train.optim.AdamW", "warmup_images": 100},
    {"name": "train.optim.AdamW", "decay": {"name": "train.optim.Steps", "at_images": (200,)}},
    {"name": "train.optim.Every", "optim": {"name": "train.optim.AdamW"}, "k": 5},
    {
        "name": "train.optim.Players",
        "optims": {
            "generator": {"name": "train.optim.Every", "optim": {"name": "train.optim.AdamW"}, "k": 5},
            "fake": {"name": "train.optim.AdamW", "rate": 4e-4},
        },
    },
)
