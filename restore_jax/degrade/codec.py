"""Compression of clips: a proxy for what video codecs leave behind."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from restore_jax.core import Observation
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops import jpeg

EXAMPLE_SHAPE = (3, 8, 12, 3)


@dataclass(frozen=True)
class VideoCodec:
    """A clip `t h w c` after a hybrid codec: transform coding of the difference to the frame decoded before.

    Every `gop`-th frame is a key frame, coded by itself; each other is predicted by the previous decoded frame
    as it stands. What is left is transformed by an 8 x 8 DCT in YCbCr 4:2:0 and divided by one step for all
    frequencies, `2^((qp - 4) / 6)` grey levels: it doubles every 6 `qp`, as in H.264. A level is
    `floor(|coefficient| / step + f)`, f = 1/3 in key frames and 1/6 in the others, whose wider dead zone freezes faint
    texture. Block edges are smoothed inside the loop where the jump is small enough for the `qp` to be the codec's
    own. `qp` is in [0, 51], drawn once a clip; 0 is nearly lossless, 23 is usual, 37 is poor.

    It is a proxy: no motion compensation, no intra prediction, no variable blocks, no rate control. It shows
    blocking, ringing, colour bleeding, frozen texture and the pulse of key frames; where the picture moves, it
    spends bits that a real codec saves and so shows less harm than one at a given bit rate.

    The gradient with respect to x is straight through, the identity. One pass over time (`lax.scan`), with one
    frame in memory besides the clips.

    Raises:
        ValueError: qp outside [0, 51], gop below 1; a clip of other than 4 axes, or of neither 1 nor 3 channels.

    Reference: Wiegand et al. 2003, "Overview of the H.264/AVC video coding standard", section IV, for step and
    loop; List et al. 2003, "Adaptive deblocking filter", for the form of the filter.
    """

    qp: Parameter = (22.0, 37.0)
    gop: int = 12

    def __post_init__(self) -> None:
        check(self, "qp", 0.0, 51.0)
        if isinstance(self.gop, bool) or not isinstance(self.gop, int) or self.gop < 1:
            raise ValueError(f"VideoCodec.gop must be a whole number of frames, 1 or more, not {self.gop!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "t h w c"]) -> Observation:
        """The decoded clip."""
        if x.ndim != 4:
            raise ValueError(f"VideoCodec takes clips `t h w c`, not {x.shape}.")
        if x.shape[-1] not in (1, 3):
            raise ValueError(f"VideoCodec takes clips of 1 or 3 channels, not {x.shape[-1]}.")
        decoded = _run(jax.lax.stop_gradient(x), draw(key, self.qp), self.gop)
        return Observation(y=jpeg.straight_through(decoded, x))


@partial(jax.jit, static_argnames="gop")  # a hundred small operations: slow one by one
def _run(x: Float[Array, "t h w c"], qp: Float[Array, ""], gop: int) -> Float[Array, "t h w c"]:
    t, h, w, c = x.shape
    pixels = jpeg.to_bytes(x)
    if c == 3:
        luma, chroma = jpeg.to_planes(pixels)
        planes = (jpeg.pad_edge(luma, 8, 8)[:, None], jpeg.subsample(chroma))
    else:
        planes = (jpeg.pad_edge(pixels[..., 0], 8, 8)[:, None],)
    step = jnp.exp2((qp.astype(jnp.float32) - 4) / 6)

    def frame(before, now):
        number, planes = now
        is_key = number % gop == 0
        decoded = tuple(_code(plane, jnp.where(is_key, 128, last), is_key, step) for plane, last in zip(planes, before))
        decoded = tuple(_deblock(_deblock(plane, qp, -1), qp, -2) for plane in decoded)
        return decoded, decoded

    start = tuple(jnp.zeros_like(plane[0]) for plane in planes)
    _, decoded = jax.lax.scan(frame, start, (jnp.arange(t), planes))
    luma = decoded[0][:, 0, :h, :w]
    rgb = jpeg.from_planes(luma, jpeg.upsample(decoded[1], h, w)) if c == 3 else luma[..., None]
    return rgb.astype(x.dtype) / 255


def _code(
    plane: Int[Array, "p h w"], predicted: Int[Array, "p h w"], is_key: Bool[Array, ""], step: Float[Array, ""]
) -> Int[Array, "p h w"]:
    """The decoded plane: prediction and quantised difference."""
    offset = jnp.where(is_key, 1 / 3, 1 / 6).astype(jnp.float32)
    scaled = jpeg.forward_dct(jpeg.to_blocks(plane - predicted)).astype(jnp.float32)
    level = jnp.sign(scaled) * jnp.floor(jnp.abs(scaled) / (8 * step) + offset)
    difference = jpeg.inverse_dct(jnp.round(level * step).astype(jnp.int32))
    return jnp.clip(predicted + jpeg.from_blocks(difference), 0, 255)


def _deblock(plane: Int[Array, "p h w"], qp: Float[Array, ""], axis: int) -> Int[Array, "p h w"]:
    """Moves the two pixels at each block edge towards each other, where both sides are smooth and the jump is small.

    `p0 | q0` become `p0 + d | q0 - d` with `d = (4 (q0 - p0) + p1 - q1) / 8`, p1 and q1 the pixels behind them, clipped
    to `+-alpha / 16` rounded, where `|p0 - q0| < alpha = 0.8 (2^(qp/6) - 1)` and `|p1 - p0|, |q1 - q0| < qp / 2 - 7`.
    """
    if plane.shape[axis] == 8:
        return plane  # one block: no edge
    alpha, beta = 0.8 * (jnp.exp2(qp / 6) - 1), qp / 2 - 7
    blocks = jnp.swapaxes(plane, axis, -1)
    *b, n = blocks.shape
    blocks = blocks.reshape(*b, n // 8, 8)
    p1, p0 = blocks[..., :-1, 6], blocks[..., :-1, 7]
    q0, q1 = blocks[..., 1:, 0], blocks[..., 1:, 1]
    own = (jnp.abs(p0 - q0) < alpha) & (jnp.abs(p1 - p0) < beta) & (jnp.abs(q1 - q0) < beta)
    limit = jnp.floor(alpha / 16 + 0.5).astype(jnp.int32)
    d = jnp.where(own, jnp.clip((4 * (q0 - p0) + p1 - q1 + 4) >> 3, -limit, limit), 0)
    none = jnp.zeros_like(d[..., :1])
    to_p, to_q = jnp.concatenate([d, none], -1)[..., None], jnp.concatenate([none, d], -1)[..., None]
    place = np.arange(8).reshape((1,) * (blocks.ndim - 1) + (8,))
    moved = blocks + to_p * jnp.asarray(place == 7, d.dtype) - to_q * jnp.asarray(place == 0, d.dtype)
    return jnp.swapaxes(jnp.clip(moved, 0, 255).reshape(*b, n), axis, -1)


EXAMPLES = (
    {"name": "degrade.codec.VideoCodec", "qp": (20.0, 40.0), "gop": 2},
    {"name": "degrade.codec.VideoCodec", "qp": 37.0, "gop": 12},
)
