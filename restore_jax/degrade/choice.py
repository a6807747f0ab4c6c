"""Chance: one of several degradations, perhaps one, or several in random order.

What comes out is a picture and nothing else: which branch was taken is drawn with the key, so that no one operator
and no noise level holds for all draws, and `operator`, `noise_std` and `cond` stay empty. All shapes are static.

Cost. For a single picture only the branch that is taken runs. Under `jax.vmap` the branch differs from picture to
picture, and JAX computes every branch for every picture and selects: `Choice` costs the sum of its options, `Maybe`
always costs its step, and `Shuffle` of n steps costs n times their sum. `jax.lax.map` over the batch avoids that,
at the price of one picture at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from restore_jax.core import Observation
from restore_jax.degrade.parameter import check

Branch = Callable[[PRNGKeyArray, Float[Array, "..."]], Float[Array, "..."]]


def _branch(step: Callable[[Any, Any], Observation], dtype: Any) -> Branch:
    """`step`, of which only the picture is kept."""
    return lambda key, x: jnp.asarray(step(key, x).y, dtype)


@dataclass(frozen=True)
class Choice:
    """`y = options[i](x)`, where i is drawn with probability `weights[i] / sum(weights)`; evenly without `weights`.

    All options must give observations of one shape, which need not be that of x.

    Raises:
        ValueError: no options, or weights that are negative, all zero or not one an option (when built);
            options whose outputs differ in shape (when traced).
    """

    options: tuple[Callable[[Any, Any], Observation], ...] = ()
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("Choice.options is empty: give at least one degradation.")
        if self.weights is None:
            return
        if len(self.weights) != len(self.options):
            raise ValueError(
                f"Choice.weights must be one an option: {len(self.options)}, not {len(self.weights)} numbers."
            )
        if not all(0 <= weight < float("inf") for weight in self.weights) or sum(self.weights) <= 0:
            raise ValueError(f"Choice.weights must lie in [0, inf) and not all be 0, not {self.weights!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "..."]) -> Observation:
        """What the option that was drawn makes of x."""
        key_choice, key_step = jax.random.split(key)
        branches = [_branch(option, x.dtype) for option in self.options]
        shapes = [jax.eval_shape(branch, key_step, x).shape for branch in branches]
        for i, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ValueError(
                    f"Choice.options[{i}] makes {shape} of a picture {x.shape}, options[0] makes {shapes[0]}: "
                    "all options must give one shape."
                )
        weights = np.asarray(self.weights or (1.0,) * len(branches), float)
        # The probability up to and including each option but the last: u at or above it means a later option.
        thresholds = jnp.asarray(np.cumsum(weights)[:-1] / weights.sum(), jnp.float32)
        index = jnp.sum(jax.random.uniform(key_choice, dtype=jnp.float32) >= thresholds)
        # An option of weight 0 at the end would still be reached by a threshold that rounds to below 1.
        index = jnp.minimum(index, int(np.flatnonzero(weights)[-1]))
        return Observation(y=jax.lax.switch(index, branches, key_step, x))


@dataclass(frozen=True)
class Maybe:
    """`y = step(x)` with `probability`, else `y = x`.

    Raises:
        ValueError: a probability outside [0, 1] (when built); a step that changes the shape (when traced).
    """

    step: Callable[[Any, Any], Observation]
    probability: float = 0.5

    def __post_init__(self) -> None:
        check(self, "probability", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "..."]) -> Observation:
        """What the step makes of x, or x."""
        key_choice, key_step = jax.random.split(key)
        branch = _branch(self.step, x.dtype)
        _same_shape("Maybe.step", branch, key_step, x)
        taken = jax.random.bernoulli(key_choice, self.probability)
        return Observation(y=jax.lax.cond(taken, branch, lambda _, x: x, key_step, x))


@dataclass(frozen=True)
class Shuffle:
    """All `steps`, one after another, in an order drawn uniformly for each picture.

    Each step keeps its own randomness wherever it comes in the order. `jax.grad` keeps the n pictures in between.

    Raises:
        ValueError: no steps (when built); a step that changes the shape (when traced).

    Reference: Zhang et al. 2021, "Designing a practical degradation model for deep blind image super-resolution"
    (BSRGAN), which introduced the random order.
    """

    steps: tuple[Callable[[Any, Any], Observation], ...] = ()

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("Shuffle.steps is empty: give at least one degradation.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "..."]) -> Observation:
        """What the steps make of x."""
        key_order, key_steps = jax.random.split(key)
        branches = [_branch(step, x.dtype) for step in self.steps]
        for i, branch in enumerate(branches):
            _same_shape(f"Shuffle.steps[{i}]", branch, key_steps, x)
        keys = jax.random.split(key_steps, len(branches))
        order = jax.random.permutation(key_order, len(branches))
        # A scan compiles every step once, not once for each place in the order.
        y, _ = jax.lax.scan(lambda y, i: (jax.lax.switch(i, branches, keys[i], y), None), x, order)
        return Observation(y=y)


def _same_shape(field: str, branch: Branch, key: Key[Array, ""], x: Float[Array, "..."]) -> None:
    """Raises ValueError, naming the field, unless `branch` keeps the shape of x."""
    shape = jax.eval_shape(branch, key, x).shape
    if shape != x.shape:
        raise ValueError(f"{field} makes {shape} of a picture {x.shape}: the shape must stay.")


_BLUR = {"name": "degrade.blur.GaussianBlur", "std": (0.2, 2.0)}
_NOISE = {"name": "degrade.noise.Gaussian", "std": (0.0, 0.2)}
_HOLES = {"name": "degrade.mask.RandomPixels", "keep": 0.5}
_SMALL = {"name": "degrade.downsample.Downsample", "scale": 2}
_SMALL_NOISY = {"name": "degrade.chain.Chain", "steps": (_BLUR, _SMALL, _NOISE)}

EXAMPLES = (
    {"name": "degrade.choice.Choice", "options": (_BLUR, _NOISE, _HOLES), "weights": (2.0, 1.0, 1.0)},
    {"name": "degrade.choice.Choice", "options": (_SMALL, _SMALL_NOISY)},
    {"name": "degrade.choice.Maybe", "step": _NOISE, "probability": 0.5},
    {"name": "degrade.choice.Shuffle", "steps": (_BLUR, _NOISE, _HOLES)},
)
