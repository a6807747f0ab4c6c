"""Compression of pictures: JPEG, once and twice. Not linear, so that no observation has an operator."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.jpeg import ROUNDINGS, SUBSAMPLINGS, jpeg


def _check_options(owner: object, **allowed: tuple[str, ...]) -> None:
    for field, values in allowed.items():
        if getattr(owner, field) not in values:
            name = f"{type(owner).__name__}.{field}"
            raise ValueError(f"{name} must be one of {values}, not {getattr(owner, field)!r}.")


def _check_channels(owner: object, x: Float[Array, "h w c"]) -> None:
    if x.shape[-1] not in (1, 3):
        raise ValueError(f"{type(owner).__name__} takes pictures of 1 or 3 channels, not {x.shape[-1]}.")


@dataclass(frozen=True)
class Jpeg:
    """The picture that libjpeg makes of x at `quality` 1 .. 100, drawn and rounded to a whole number.

    `subsampling` is "4:4:4" or "4:2:0". y holds multiples of 1/255. `rounding` says how the gradient passes:
    "straight_through", as if nothing were rounded, or "cubic", which changes y as well (see `ops.jpeg.jpeg`).

    Raises:
        ValueError: a quality outside [1, 100], an unknown option; a picture of neither 1 nor 3 channels.
    """

    quality: Parameter = (30.0, 95.0)
    subsampling: str = "4:2:0"
    rounding: str = "straight_through"

    def __post_init__(self) -> None:
        check(self, "quality", 1.0, 100.0)
        _check_options(self, subsampling=SUBSAMPLINGS, rounding=ROUNDINGS)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The decoded picture."""
        _check_channels(self, x)
        return Observation(y=jpeg(x, draw(key, self.quality), self.subsampling, self.rounding))


@dataclass(frozen=True)
class DoubleJpeg:
    """A picture that was compressed, cropped and compressed again, as reposted pictures are.

    The grid of the second compression starts at the corner of x. That of the first starts up to 7 pixels above and
    to the left of it: `shift` is a whole number or a range of them, drawn for rows and columns separately, and
    what the crop removed is taken to be x's edge repeated. 0 compresses twice on one grid. Qualities and options
    are those of `Jpeg`.

    Cost: twice that of `Jpeg`, whatever the shift.

    Raises:
        ValueError: a quality outside [1, 100], a shift outside [0, 7] or not whole, an unknown option; a picture of
            neither 1 nor 3 channels.
    """

    quality_1: Parameter = (30.0, 95.0)
    quality_2: Parameter = (30.0, 95.0)
    shift: Parameter = (0.0, 7.0)
    subsampling: str = "4:2:0"
    rounding: str = "straight_through"

    def __post_init__(self) -> None:
        check(self, "quality_1", 1.0, 100.0)
        check(self, "quality_2", 1.0, 100.0)
        check(self, "shift", 0.0, 7.0)
        if any(end != int(end) for end in self._shifts):
            raise ValueError(f"DoubleJpeg.shift must be a whole number or a pair of them, not {self.shift!r}.")
        _check_options(self, subsampling=SUBSAMPLINGS, rounding=ROUNDINGS)

    @property
    def _shifts(self) -> tuple[float, float]:
        return self.shift if isinstance(self.shift, tuple) else (self.shift, self.shift)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture decoded for the second time."""
        _check_channels(self, x)
        h, w, c = x.shape
        key_1, key_2, key_shift = jax.random.split(key, 3)
        low, high = (int(end) for end in self._shifts)
        down, right = jax.random.randint(key_shift, (2,), low, high + 1)
        # The window that is compressed first has a fixed size, and x somewhere in its upper left corner.
        wide = jnp.pad(x, ((high, high), (high, high), (0, 0)), mode="edge")
        window = jax.lax.dynamic_slice(wide, (high - down, high - right, 0), (h + high, w + high, c))
        once = jpeg(window, draw(key_1, self.quality_1), self.subsampling, self.rounding)
        cropped = jax.lax.dynamic_slice(once, (down, right, 0), x.shape)
        return Observation(y=jpeg(cropped, draw(key_2, self.quality_2), self.subsampling, self.rounding))


def as_file(y: Float[Array, "h w c"]) -> Observation:
    """`y` and nothing else, as a file of 8 bits holds it: clipped and rounded, the rounding invisible to gradients."""
    y = jnp.clip(y, 0.0, 1.0)
    return Observation(y=y + jax.lax.stop_gradient(jnp.round(y * 255) / 255 - y))


EXAMPLES = (
    {"name": "degrade.compress.Jpeg", "quality": (10.0, 95.0), "subsampling": "4:2:0"},
    {"name": "degrade.compress.Jpeg", "quality": 50.0, "subsampling": "4:4:4"},
    {"name": "degrade.compress.Jpeg", "quality": (30.0, 90.0), "subsampling": "4:2:0", "rounding": "cubic"},
    {"name": "degrade.compress.DoubleJpeg", "quality_1": (30.0, 80.0), "quality_2": (60.0, 95.0)},
)
