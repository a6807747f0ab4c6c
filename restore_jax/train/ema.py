"""Averages of parameters along a run, and averages that nobody kept, made afterwards.

    average <- beta average + (1 - beta) params          after each step

    HalfLife   beta constant, of a half-life in images, less at the start
    Constant   beta constant
    Power      beta_t = (1 - 1 / t)^(gamma + 1): the average at step t is that of all steps tau, weighed by tau^gamma

How wide a window is best is known only at the end. Power's window is as wide as the run is long, whatever its length:
its deviation is `std` t. And two such averages, kept as snapshots now and then, span the others nearly: with
p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t] the weights of a snapshot, the mixture of snapshots that is
nearest to the weights p of the average one would like to have solves

    sum_j <p_i, p_j> w_j = <p_i, p>,
    <p_a, p_b> = (gamma_a + 1) (gamma_b + 1) / (gamma_a + gamma_b + 1) (m / t_a)^gamma_a (m / t_b)^gamma_b / M

with m = min(t_a, t_b), M = max(t_a, t_b). What Power gives to a step is the integral of p over it, exactly.

Reference: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models" (EDM2),
sections 3.1 and 3.2, appendix C.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from restore_jax.core import PyTree, TrainState

WIDEST = 1 / math.sqrt(12)  # the deviation of equal weights on [0, 1], gamma = 0


@runtime_checkable
class Average(Protocol):
    """What of the average stays at a step; `step` counts from 0."""

    def decay(self, step: Array, batch_size: int) -> Float[Array, ""]:
        """`beta`."""
        ...


def ema_decay(step: Array, batch_size: int, half_life_images: int) -> Float[Array, ""]:
    """`0.5^(batch / half_life)`, less at the start so that the first parameters are soon forgotten.

    Reference: Karras et al. 2022 (EDM), appendix F.1 (half-life); Adam's TensorFlow warm-up (1 + k) / (10 + k).
    """
    return jnp.minimum(0.5 ** (batch_size / half_life_images), (1.0 + step) / (10.0 + step))


@dataclass(frozen=True)
class HalfLife:
    """After `images` photographs half of what the average was is left, whatever the batch size; see `ema_decay`."""

    images: int = 5_000

    def __post_init__(self) -> None:
        if self.images <= 0:
            raise ValueError(f"HalfLife.images must be above 0, not {self.images}.")

    def decay(self, step: Array, batch_size: int) -> Float[Array, ""]:
        """`beta`."""
        return ema_decay(step, batch_size, self.images)


@dataclass(frozen=True)
class Constant:
    """`beta` at every step; 0 is no average at all."""

    beta: float = 0.999

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ValueError(f"Constant.beta must be in [0, 1), not {self.beta}.")

    def decay(self, step: Array, batch_size: int) -> Float[Array, ""]:
        """`beta`."""
        del step, batch_size
        return jnp.asarray(self.beta)


@dataclass(frozen=True)
class Power:
    """`(1 - 1 / t)^(gamma + 1)`, t = step + 1: weights tau^gamma, of deviation `std` relative to the run so far.

    The parameters that a run starts from have weight 0. The window depends on the number of steps alone.

    Raises:
        ValueError: std is not between 0 and 1 / sqrt(12), that of equal weights.

    Reference: Karras et al. 2024 (EDM2), section 3.1 and appendix C.
    """

    std: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.std < WIDEST:
            raise ValueError(f"Power.std must be above 0 and below 1 / sqrt(12) = {WIDEST:.4f}, not {self.std}.")

    @property
    def gamma(self) -> float:
        """The exponent: `std^2 (gamma + 2)^2 (gamma + 3) = gamma + 1`, a cubic whose largest root is the one."""
        variance = self.std**2
        roots = np.roots([variance, variance, -1.0, 1.0])  # in gamma + 2
        return float(roots[np.argmax(roots.real)].real) - 2.0

    def decay(self, step: Array, batch_size: int) -> Float[Array, ""]:
        """`beta`."""
        del batch_size
        return jnp.exp((self.gamma + 1.0) * jnp.log1p(-1.0 / (step + 1.0)))  # exact where 1 / t is small, 0 at t = 1


def follow(average: PyTree, params: PyTree, beta: Float[Array, ""]) -> PyTree:
    """`beta average + (1 - beta) params`, in the precision of the average."""
    return jax.tree.map(lambda old, new: (beta * old + (1.0 - beta) * new).astype(old.dtype), average, params)


# ---------------------------------------------------------------------------------------------
# Averages made afterwards
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshots:
    """Power averages kept beside the run's own, one a deviation in `stds`, and written down every so many images.

    Cost: a copy of the parameters in memory for each of `stds`, and on disk one for each and every snapshot.
    """

    every_images: int = 100_000
    stds: tuple[float, ...] = (0.05, 0.1)

    def __post_init__(self) -> None:
        if self.every_images <= 0:
            raise ValueError(f"Snapshots.every_images must be above 0, not {self.every_images}.")
        if not self.stds or len(set(self.stds)) < len(self.stds):
            raise ValueError(f"Snapshots.stds must be one deviation or more, no two alike, not {self.stds}.")
        for std in self.stds:
            Power(std)

    def begin(self, state: TrainState) -> TrainState:
        """The state with averages to follow in aux["ema_tracks"], by the deviation as written."""
        tracks = {str(std): jax.tree.map(jnp.copy, state.params) for std in self.stds}
        return state.replace(aux={**state.aux, "ema_tracks": tracks})

    def write(self, workdir: str | Path, state: TrainState) -> None:
        """`workdir/ema/<step>.npz`, whole or not at all."""
        folder = Path(workdir) / "ema"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{int(state.step)}.npz"
        partial = path.with_suffix(".partial")
        leaves: dict[str, Any] = flatten_dict(state.aux["ema_tracks"], sep="/")
        arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in leaves.items()}
        with open(partial, "wb") as file:
            np.savez(file, **arrays)
        os.replace(partial, path)


def follow_tracks(aux: Mapping[str, Any], step: Array, params: PyTree) -> Mapping[str, Any]:
    """`aux` one step on: each Power average in aux["ema_tracks"] has seen `params`; without any, as it is."""
    if "ema_tracks" not in aux:
        return aux
    tracks = aux["ema_tracks"].items()
    moved = {std: follow(track, params, Power(float(std)).decay(step, 1)) for std, track in tracks}
    return {**aux, "ema_tracks": moved}


def inner(t_a: Any, gamma_a: Any, t_b: Any, gamma_b: Any) -> Any:
    """`<p_a, p_b>`, the integral of the product of two weights; broadcasts, in float64.

    Reference: Karras et al. 2024 (EDM2), appendix C.
    """
    t_a, gamma_a, t_b, gamma_b = (np.asarray(value, np.float64) for value in (t_a, gamma_a, t_b, gamma_b))
    m = np.minimum(t_a, t_b)
    shared = (m / t_a) ** gamma_a * (m / t_b) ** gamma_b / np.maximum(t_a, t_b)
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * shared


def reconstruct(steps: Sequence[int], stds: Sequence[float], step: int, std: float) -> np.ndarray:
    """The weights of snapshots (taken after `steps`, of averages `stds`) whose sum is nearest to the average wanted.

    Exact, to rounding and the condition of the system, where the average wanted is one of them. Several snapshots:
    O(n^3).

    Raises:
        ValueError: no snapshots, lists of different lengths, or a snapshot later than the step that is asked for.
    """
    if not len(steps) == len(stds) > 0:
        raise ValueError(
            f"reconstruct wants as many steps as stds, and one at least, not {len(steps)} and {len(stds)}."
        )
    if max(steps) > step:
        raise ValueError(f"An average at step {step} knows nothing of the snapshot at step {max(steps)}: leave it out.")
    t, gamma = np.asarray(steps, np.float64), np.asarray([Power(one).gamma for one in stds])
    gram = inner(t[:, None], gamma[:, None], t[None, :], gamma[None, :])
    wanted = inner(t, gamma, float(step), Power(std).gamma)
    scale = np.sqrt(np.diag(gram))  # snapshots early and late weigh alike: the condition is that of their angles
    weights, *_ = np.linalg.lstsq(gram / np.outer(scale, scale), wanted / scale, rcond=None)
    return weights / scale


def post_hoc(workdir: str | Path, std: float, step: int | None = None) -> PyTree:
    """The Power average of deviation `std` of a run that kept `Snapshots`, at its last snapshot or an earlier step.

    Cost: every snapshot up to `step` is read once; sums are float64.

    Raises:
        ValueError: there are no snapshots, or none so early.
    """
    found = {int(path.stem): path for path in (Path(workdir) / "ema").glob("*.npz")}
    steps = sorted(one for one in found if step is None or one <= step)
    if not steps:
        raise ValueError(
            f"{workdir} holds no snapshots{'' if step is None else f' up to step {step}'}: train with config.snapshots "
            '= {"name": "train.ema.Snapshots"}.'
        )
    with np.load(found[steps[0]]) as first:
        stds = sorted({name.partition("/")[0] for name in first.files}, key=float)
    taken = [one for one in steps for _ in stds]
    widths = [float(width) for _ in steps for width in stds]
    weights = reconstruct(taken, widths, steps[-1] if step is None else step, std).reshape(len(steps), len(stds))
    total: dict[str, Any] = {}
    kinds: dict[str, Any] = {}
    for one, row in zip(steps, weights):
        with np.load(found[one]) as snapshot:
            for name in snapshot.files:
                width, _, path = name.partition("/")
                leaf = snapshot[name]
                kinds[path] = leaf.dtype
                total[path] = total.get(path, 0.0) + row[stds.index(width)] * leaf.astype(np.float64)
    return unflatten_dict({path: jnp.asarray(leaf, kinds[path]) for path, leaf in total.items()}, sep="/")


EXAMPLES = (
    {"name": "train.ema.HalfLife", "images": 1_000},
    {"name": "train.ema.Constant", "beta": 0.99},
    {"name": "train.ema.Power", "std": 0.1},
    {"name": "train.ema.Snapshots", "every_images": 1_000},
)
