"""Missing pixels."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.linear import Identity
from restore_jax.degrade.parameter import Parameter, check, draw


@struct.dataclass
class Mask(Operator):
    """`A x = mask * x`; `mask` holds 1 where a pixel was seen and 0 where it is missing.

    It is `[h, w, 1]`, or any shape of three axes that broadcasts to the picture's: `[1, 1, c]` for channels.
    """

    mask: Any

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """`mask * x`."""
        return self.mask * x

    def adjoint(self, y: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """`mask * y`: the operator is diagonal, so it is its own transpose."""
        return self.mask * y

    def solve(self, r: Float[Array, "h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "h w c"]:
        """`r / (mask^2 + reg)`, and 0 where both vanish."""
        denominator = self.mask**2 + reg
        return jnp.where(denominator > 0, r / jnp.where(denominator > 0, denominator, 1.0), 0.0)

    def spectrum(self) -> Float[Array, "h w c"]:
        """The singular values, `|mask|` at each number of the picture, in no particular order."""
        return jnp.broadcast_to(jnp.abs(self.mask), self.in_shape)

    def svd(self) -> tuple[Float[Array, "h w c"], Operator]:
        """`|mask|`, and the identity: see `degrade.linear`."""
        return self.spectrum(), Identity(in_shape=self.in_shape)


@dataclass(frozen=True)
class RandomPixels:
    """Each pixel is seen with probability `keep`, all channels together; the others are 0."""

    keep: Parameter = 0.5

    def __post_init__(self) -> None:
        check(self, "keep", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture with holes, and its `Mask`."""
        key_keep, key_mask = jax.random.split(key)
        seen = jax.random.bernoulli(key_mask, draw(key_keep, self.keep), (*x.shape[:2], 1))
        return _seen_through(x, seen)


@dataclass(frozen=True)
class Box:
    """A square of `size` times the shorter side is missing, somewhere inside the picture."""

    size: Parameter = 0.25

    def __post_init__(self) -> None:
        check(self, "size", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture with a hole, and its `Mask`."""
        h, w, _ = x.shape
        key_size, key_row, key_col = jax.random.split(key, 3)
        side = jnp.round(draw(key_size, self.size) * min(h, w))
        top = jnp.floor(jax.random.uniform(key_row) * (h - side + 1))
        left = jnp.floor(jax.random.uniform(key_col) * (w - side + 1))
        rows, cols = jnp.arange(h)[:, None, None], jnp.arange(w)[None, :, None]
        hole = (rows >= top) & (rows < top + side) & (cols >= left) & (cols < left + side)
        return _seen_through(x, ~hole)


@dataclass(frozen=True)
class Strokes:
    """Free-form holes: brush strokes along random walks are missing.

    Each of `strokes` starts anywhere and goes through `vertices` straight pieces with round ends. `width` (the
    brush, drawn for each stroke) and `length` (of a piece, drawn for each) are shares of the shorter side. A piece
    turns from the one before by an angle uniform in `turn` degrees, to the left and to the right in alternation; a
    vertex that would leave the picture stops at its border. A pixel is missing where its centre lies within half
    a width of a piece.

    Cost: `strokes vertices h w` distances, `strokes` of them at a time.

    Reference: Yu et al. 2019, "Free-form image inpainting with gated convolution", algorithm 1 (there the
    direction alternates, not the turn, and all strokes share one width).
    """

    strokes: int = 4
    vertices: int = 6
    width: Parameter = (0.04, 0.12)
    length: Parameter = (0.05, 0.4)
    turn: Parameter = (20.0, 140.0)

    def __post_init__(self) -> None:
        for field in ("strokes", "vertices"):
            if getattr(self, field) < 1:
                raise ValueError(f"Strokes.{field} must be a whole number >= 1, not {getattr(self, field)!r}.")
        check(self, "width", 0.0, 1.0)
        check(self, "length", 0.0, 1.0)
        check(self, "turn", 0.0, 180.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture with strokes cut out, and its `Mask`."""
        h, w, _ = x.shape
        key_start, key_heading, key_width, key_walk = jax.random.split(key, 4)
        each = (self.strokes, 1)
        most = jnp.asarray([h - 1.0, w - 1.0], x.dtype)[None]
        here = jax.random.uniform(key_start, (self.strokes, 2), x.dtype) * most
        heading = jax.random.uniform(key_heading, each, x.dtype, maxval=2 * jnp.pi)
        radius = 0.5 * min(h, w) * _draws(key_width, self.width, each).astype(x.dtype)
        rows = jnp.arange(h, dtype=x.dtype)[None, :, None]
        cols = jnp.arange(w, dtype=x.dtype)[None, None, :]

        def go_on(state, step):
            here, heading, gap = state  # gap: how far each pixel lies outside of what was drawn; < 0 within
            number, key = step
            key_turn, key_length = jax.random.split(key)
            sign = (1 - 2 * (number % 2)).astype(x.dtype)
            heading = heading + sign * jnp.deg2rad(_draws(key_turn, self.turn, each)).astype(x.dtype)
            length = min(h, w) * _draws(key_length, self.length, each).astype(x.dtype)
            direction = jnp.concatenate([jnp.sin(heading), jnp.cos(heading)], axis=1)
            there = jnp.clip(here + length * direction, 0.0, most)
            distance = _to_segment(rows, cols, here, there)
            gap = jnp.minimum(gap, (distance - radius[..., None]).min(axis=0))
            return (there, heading, gap), None

        steps = (jnp.arange(self.vertices), jax.random.split(key_walk, self.vertices))
        gap = jnp.full((h, w), jnp.inf, x.dtype)
        (_, _, gap), _ = jax.lax.scan(go_on, (here, heading, gap), steps)
        return _seen_through(x, gap[..., None] > 0)


@dataclass(frozen=True)
class Outpaint:
    """What lies beyond a straight edge is missing, to be painted on: the share `keep` of the side is seen.

    `side` is the one that is missing: "left", "right", "top", "bottom", or "all" for a frame on all four, within
    which `keep` of the height and `keep` of the width are seen. Sizes are rounded to whole pixels; a frame that does
    not divide evenly is a pixel wider on the right and at the bottom.
    """

    keep: Parameter = 0.5
    side: str = "all"

    def __post_init__(self) -> None:
        check(self, "keep", 0.0, 1.0)
        sides = ("all", "left", "right", "top", "bottom")
        if self.side not in sides:
            raise ValueError(f"Outpaint.side must be one of {', '.join(sides)}, not {self.side!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture without its surroundings, and its `Mask`."""
        keep = draw(key, self.keep)
        rows = self._seen(x.shape[0], keep, "top", "bottom")
        cols = self._seen(x.shape[1], keep, "left", "right")
        return _seen_through(x, rows[:, None, None] & cols[None, :, None])

    def _seen(self, n: int, keep: Float[Array, ""], before: str, after: str) -> Any:
        """Which of `n` rows or columns are seen, where `before` and `after` are the names of their two ends."""
        kept = jnp.round(keep * n) if self.side in ("all", before, after) else n
        first = {before: n - kept, "all": jnp.floor(0.5 * (n - kept))}.get(self.side, 0)
        i = jnp.arange(n)
        return (i >= first) & (i < first + kept)


def _seen_through(x: Float[Array, "h w c"], seen: Any) -> Observation:
    operator = Mask(in_shape=x.shape, mask=seen.astype(x.dtype))
    return Observation(y=operator(x), operator=operator)


def _draws(key: Key[Array, ""], value: Parameter, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """A draw of the parameter for each of `shape`."""
    low, high = value if isinstance(value, tuple) else (value, value)
    return low + (high - low) * jax.random.uniform(key, shape)


def _to_segment(
    rows: Float[Array, "1 h 1"], cols: Float[Array, "1 1 w"], start: Float[Array, "n 2"], end: Float[Array, "n 2"]
) -> Float[Array, "n h w"]:
    """The distance of every pixel to each of n straight pieces."""
    along = end - start
    square = jnp.maximum(jnp.sum(along**2, axis=1), 1e-12)[:, None, None]  # a piece may have no length
    (r0, c0), (dr, dc) = (jnp.moveaxis(v[:, :, None, None], 1, 0) for v in (start, along))
    nearest = jnp.clip(((rows - r0) * dr + (cols - c0) * dc) / square, 0.0, 1.0)
    return jnp.sqrt((rows - r0 - nearest * dr) ** 2 + (cols - c0 - nearest * dc) ** 2)


EXAMPLES = (
    {"name": "degrade.mask.RandomPixels", "keep": 0.5},
    {"name": "degrade.mask.RandomPixels", "keep": (0.2, 0.9)},
    {"name": "degrade.mask.Box", "size": (0.1, 0.6)},
    {"name": "degrade.mask.Strokes", "strokes": 2, "vertices": 3, "width": (0.1, 0.3)},
    {"name": "degrade.mask.Outpaint", "keep": (0.3, 0.8)},
    {"name": "degrade.mask.Outpaint", "keep": 0.5, "side": "left"},
)
