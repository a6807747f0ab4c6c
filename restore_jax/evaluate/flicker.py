"""Whether a restored video flickers: its warping error beside that of the video it was made of.

    before(t) = E_warp(y[t], y[t + 1]),   after(t) = E_warp(x_hat[t], x_hat[t + 1]),   along one flow, estimated from y

on frames reduced to at most 192 pixels a side: flicker is of large areas, and the flow is cheap there. A restorer that
removes noise lowers the error; one that invents another texture each time raises it.

Reference: Lai et al. 2018, "Learning blind video temporal consistency" (the warping error); Kroeger et al. 2016 and Le
Besnerais & Champagnat 2005 (the iterative Lucas-Kanade flow of scikit-image).
"""

import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from PIL import Image

from restore_jax.metrics.temporal import WarpingError, seen

SIDE = 192
PAIRS = 32

Picture = Float32[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Flicker:
    """Warping errors, in squared units of frames in [0, 1]: their means, and one number a pair of frames.

    `frames` holds the number of each pair's first frame.
    """

    before: float
    after: float
    frames: tuple[int, ...]
    each_before: tuple[float, ...]
    each_after: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """`after / before`: below 1 where the restored video is steadier; 1 where neither changes."""
        if self.before == 0:
            return 1.0 if self.after == 0 else float("inf")
        return self.after / self.before

    @property
    def worst(self) -> int:
        """The frame after which the restored video changes most."""
        return self.frames[int(np.argmax(self.each_after))]

    def line(self) -> str:
        """What a reader is told."""
        return (
            f"flicker: warping error {self.after:.3e}, of the input {self.before:.3e} ({self.ratio:.2f} times), over "
            f"{len(self.frames)} pairs of frames; most after frame {self.worst}."
        )

    def json(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "ratio": self.ratio, "worst": self.worst}


def flicker(
    before: Iterable[Picture],
    after: Iterable[Float32[np.ndarray, "H W 3"]],
    count: int | None = None,
    pairs: int = PAIRS,
) -> Flicker:
    """The flicker of two videos, frame beside frame, `after` of any size.

    `count`, where the number of frames is known, spreads at most `pairs` pairs evenly over them; without it the first
    `pairs` are looked at.

    Raises:
        ValueError: fewer than two frames, or not as many in one as in the other.
    """
    if pairs < 1:
        raise ValueError(f"flicker.pairs must be at least 1, not {pairs}.")
    step = 1 if count is None else max(1, (count - 1) // pairs)
    numbers, errors = [], []
    last: tuple[np.ndarray, np.ndarray] | None = None
    ends = object()
    total = 0
    for t, (y, x_hat) in enumerate(itertools.zip_longest(before, after, fillvalue=ends)):
        if y is ends or x_hat is ends:
            raise ValueError(f"flicker: one video ends after {t} frames and the other goes on.")
        total = t + 1
        if len(numbers) == pairs:
            if count is None:
                break
            continue
        if last is not None:
            numbers.append(t - 1)
            errors.append(_pair(*last, *(_small(np.asarray(v), last[0].shape[:2]) for v in (y, x_hat))))
            last = None
        if t % step == 0:
            small = _small(np.asarray(y))
            last = small, _small(np.asarray(x_hat), small.shape[:2])
    if not errors:
        raise ValueError(f"flicker compares a frame with the next one: it needs 2 frames or more, not {total}.")
    each = np.asarray(errors, np.float64)
    means = each.mean(axis=0)
    return Flicker(float(means[0]), float(means[1]), tuple(numbers), tuple(each[:, 0].tolist()),
                   tuple(each[:, 1].tolist()))  # fmt: skip


def _small(x: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    if shape is None:
        ratio = min(1.0, SIDE / max(x.shape[:2]))
        shape = tuple(max(1, round(n * ratio)) for n in x.shape[:2])
    if tuple(shape) == x.shape[:2]:
        return np.clip(x, 0, 1)
    size = (shape[1], shape[0])
    planes = [Image.fromarray(np.ascontiguousarray(x[..., i])) for i in range(3)]
    return np.clip(np.stack([np.asarray(p.resize(size, Image.Resampling.BOX)) for p in planes], axis=-1), 0, 1)


def flow_of(here: Picture, there: Picture) -> Float32[np.ndarray, "h w 2"]:
    """Where each pixel of `here` is in `there`: (row, column) in pixels, by iterative Lucas-Kanade on luma."""
    from skimage.registration import optical_flow_ilk

    luma = np.asarray([0.2126, 0.7152, 0.0722], np.float32)
    return np.moveaxis(optical_flow_ilk(here @ luma, there @ luma, radius=5, num_warp=4), 0, -1).astype(np.float32)


def _pair(y: np.ndarray, x: np.ndarray, y_next: np.ndarray, x_next: np.ndarray) -> tuple[float, float]:
    forward, backward = flow_of(y, y_next), flow_of(y_next, y)
    clips = jnp.asarray(np.stack([np.stack([y, y_next]), np.stack([x, x_next])]))
    both = _errors()(clips, jnp.asarray(forward), jnp.asarray(backward))
    return float(both[0]), float(both[1])


@cache
def _errors() -> Any:
    def errors(clips, forward, backward):
        visible = seen(forward, backward)
        twice = lambda v: jnp.stack([v, v])[:, None]  # noqa: E731
        return WarpingError()(clips, twice(forward), twice(visible))

    return jax.jit(errors)
