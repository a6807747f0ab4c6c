"""A burst: the same scene several times, from a hand that shakes, and the least-squares merge of it.

Reference: Hasinoff et al. 2016, "Burst photography for high dynamic range and low-light imaging on mobile
cameras" (HDR+), for the setting; the merge here is linear estimation with the warps known.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator, prox
from restore_jax.degrade.noise import sensor_noise
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.bayer import check_pattern, demosaic, mosaic
from restore_jax.ops.warp import affine_grid, sample


@struct.dataclass
class BurstOperator(Operator):
    """`(A x)_k = gain_k mosaic(warp_k x)`, all frames stacked: h w c -> frames h w c, or frames h w 1 with a mosaic.

    `grid: [frames, h, w, 2]`, where each pixel looks (row, column), and `gain: [frames]` are leaves. The adjoint
    splats, by the exact transpose of the bilinear look-up; cost of either: 4 frames h w c multiply-adds.
    """

    grid: Any
    gain: Any
    pattern: str | None = struct.field(pytree_node=False, default=None)

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "f h w d"]:
        """The frames, without noise."""
        frames = jax.vmap(sample, (None, 0))(x, self.grid) * self.gain.reshape(-1, 1, 1, 1)
        return frames if self.pattern is None else mosaic(frames, self.pattern)


@dataclass(frozen=True)
class Burst:
    """`frames` pictures of one scene x of linear light: `y_k = 2^stops_k mosaic(warp_k x) + n_k`.

    The first frame is where x is. Each later one is shifted by up to `shift_px` pixels along either axis and
    turned by up to `rotation_deg` degrees about the centre, uniformly and by itself; a range of these draws the
    reach for each burst. Between pixels it is bilinear, mirrored outside. `exposure_stops` says how much longer each
    frame is exposed, in factors of two, one number a frame; empty is 0 for all. `shot` is the variance of the
    noise of light 1 and `read` the standard deviation in the dark, after exposure. With a `pattern` the frames
    are Bayer mosaics, otherwise they have the channels of x. Nothing is clipped, so that the operator is exact.

    Raises:
        ValueError: fewer than 1 frame; a negative reach or level; stops that are not one a frame within [-10, 10];
            an unknown pattern.
    """

    frames: int = 8
    shift_px: Parameter = 2.0
    rotation_deg: Parameter = 0.2
    exposure_stops: tuple[float, ...] = ()
    shot: Parameter = 0.01
    read: Parameter = 0.02
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"Burst.frames must be a whole number >= 1, not {self.frames!r}.")
        check(self, "shift_px", 0.0)
        check(self, "rotation_deg", 0.0, 180.0)
        check(self, "shot", 0.0)
        check(self, "read", 0.0)
        stops = self.exposure_stops
        if stops and (len(stops) != self.frames or not all(-10 <= s <= 10 for s in stops)):
            raise ValueError(f"Burst.exposure_stops must be {self.frames} numbers in [-10, 10] or none, not {stops!r}.")
        if self.pattern is not None:
            check_pattern(self.pattern, "Burst.pattern")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The frames, their `BurstOperator`, `noise_std` of y's shape as y tells it, and the first frame as image.

        Raises:
            ValueError: a shift beyond the picture; a mosaic of a picture that does not have 3 channels.
        """
        h, w, c = x.shape
        reach = self.shift_px[1] if isinstance(self.shift_px, tuple) else self.shift_px
        if reach >= min(h, w):
            raise ValueError(f"Burst.shift_px = {self.shift_px!r} must stay below the shorter side of {h} x {w}.")
        if self.pattern is not None and c != 3:
            raise ValueError(f"Burst.pattern = {self.pattern!r} takes a picture of 3 channels (RGB), not {c}.")
        key_pose, key_shot, key_read, key_noise = jax.random.split(key, 4)
        gain = jnp.exp2(jnp.asarray(self.exposure_stops or (0.0,) * self.frames, x.dtype))
        operator = BurstOperator(in_shape=x.shape, grid=self._grids(key_pose, x), gain=gain, pattern=self.pattern)
        shot, read = draw(key_shot, self.shot).astype(x.dtype), draw(key_read, self.read).astype(x.dtype)
        y, std = sensor_noise(key_noise, operator(x), shot, read)
        first = y[0] / gain[0]
        image = first if self.pattern is None else demosaic(first, self.pattern)
        return Observation(y=y, operator=operator, noise_std=std, cond={"image": image})

    def _grids(self, key: Key[Array, ""], x: Array) -> Array:
        key_reach, key_turn, key_shifts, key_angles = jax.random.split(key, 4)
        reach = draw(key_reach, self.shift_px).astype(x.dtype)
        widest = draw(key_turn, self.rotation_deg).astype(x.dtype) * (math.pi / 180.0)
        later = (jnp.arange(self.frames) > 0).astype(x.dtype)  # the first frame is the reference
        shifts = reach * later[:, None] * jax.random.uniform(key_shifts, (self.frames, 2), x.dtype, -1.0, 1.0)
        angles = widest * later * jax.random.uniform(key_angles, (self.frames,), x.dtype, -1.0, 1.0)
        cos, sin = jnp.cos(angles), jnp.sin(angles)
        turns = jnp.stack([jnp.stack([cos, -sin], axis=-1), jnp.stack([sin, cos], axis=-1)], axis=-2)
        return jax.vmap(lambda turn, shift: affine_grid(turn, shift, *x.shape[:2]))(turns, shifts)


def merge(obs: Observation, prior_std: float = 0.03) -> Float[Array, "h w c"]:
    """One picture of a burst: weighted least squares with the warps known, by the operator's `solve`.

        z     = (W^T frames) / (W^T W 1)              W is A without the mosaic: the frames, demosaiced, averaged
        x_hat = z + A^T (A A^T + R)^-1 (y - A z)      R = noise_std^2 / prior_std^2, pixel by pixel

    which minimises `|(A x - y) / noise_std|^2 + |x - z|^2 / prior_std^2`. `prior_std`, in units of x, is how far
    the average `z` is thought to be off, which bilinear reading and demosaicing blur: large trusts the frames, sharper
    and noisier; small stays near the average. Cost: at most 100 products with A and its transpose. For one
    observation; a batch is `jax.vmap`.

    Raises:
        ValueError: an observation that does not come from a Burst.
    """
    a = obs.operator
    if not isinstance(a, BurstOperator) or obs.noise_std is None:
        raise ValueError(f"merge takes the observation of a Burst, not one with the operator {type(a).__name__}.")
    whole = a.replace(pattern=None)
    frames = obs.y if a.pattern is None else demosaic(obs.y, a.pattern)
    seen = whole.adjoint(whole(jnp.ones(a.in_shape, obs.y.dtype)))  # > 0: the first frame sees every pixel
    z = whole.adjoint(frames) / seen
    # A frame without noise would leave a singular system; a hundredth of the prior is as good as none.
    return prox(a, z, obs.y, jnp.maximum(obs.noise_std / prior_std, 0.01) ** 2)


# Underexposed, as HDR+ does: of these operators the largest singular value is about 1.
EXAMPLES = (
    {"name": "degrade.burst.Burst", "frames": 3, "exposure_stops": (-1.0, -1.0, -1.0)},
    {"name": "degrade.burst.Burst", "frames": 3, "shift_px": (0.0, 3.0), "exposure_stops": (0.0, -2.0, -2.0)},
    {
        "name": "degrade.burst.Burst",
        "frames": 3,
        "shot": (0.0, 0.02),
        "exposure_stops": (-1.0, -1.0, -1.0),
        "pattern": "rggb",
    },
)
