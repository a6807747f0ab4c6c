"""Optimisers, their rates counted in images, so that a change of batch size changes no schedule."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import optax

from restore_jax.core import PyTree


@runtime_checkable
class Optimizer(Protocol):
    """What makes the optimiser of a run, given its lengths in images."""

    def transform(self, batch_size: int, total_images: int) -> optax.GradientTransformation:
        """The optimiser for a run of `total_images`."""
        ...


@dataclass(frozen=True)
class AdamW:
    """AdamW behind a clip of the gradient's global norm, with warm-up and cosine decay to `final` times the rate.

    Reference: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    rate: float = 2e-4
    warmup_images: int = 0
    final: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0

    def schedule(self, batch_size: int, total_images: int) -> optax.Schedule:
        """The rate of each step."""
        steps = max(1, total_images // batch_size)
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if self.warmup_images else self.rate,
            peak_value=self.rate,
            warmup_steps=min(self.warmup_images // batch_size, steps - 1),
            decay_steps=steps,
            end_value=self.rate * self.final,
        )

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


EXAMPLES = (
    {"name": "train.optim.AdamW", "warmup_images": 100},
    {"name": "train.optim.Every", "optim": {"name": "train.optim.AdamW"}, "k": 5},
    {
        "name": "train.optim.Players",
        "optims": {
            "generator": {"name": "train.optim.Every", "optim": {"name": "train.optim.AdamW"}, "k": 5},
            "fake": {"name": "train.optim.AdamW", "rate": 4e-4},
        },
    },
)
