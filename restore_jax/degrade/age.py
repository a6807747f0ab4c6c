"""What the years do to a print, before it is scanned."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.mask import Strokes
from restore_jax.degrade.parameter import Parameter, check, draw


@dataclass(frozen=True)
class Fade:
    """`y = lift + (1 - lift) (1 - loss) x`, channel by channel: dyes lose density, and blacks turn grey.

    `loss`, the contrast that is gone, and `lift`, the grey that black has become, are drawn for each
    channel, so that a cast remains. Affine, not linear: `operator` is None.
    """

    loss: Parameter = (0.0, 0.3)
    lift: Parameter = (0.0, 0.2)

    def __post_init__(self) -> None:
        check(self, "loss", 0.0, 1.0)
        check(self, "lift", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The faded picture."""
        keys = jax.random.split(key, 2 * x.shape[-1]).reshape(2, -1)
        loss, lift = (
            jax.vmap(lambda key, value=value: draw(key, value))(one).astype(x.dtype)[None, None]
            for one, value in zip(keys, (self.loss, self.lift))
        )
        return Observation(y=lift + (1.0 - lift) * (1.0 - loss) * x)


@dataclass(frozen=True)
class Scratches:
    """Thin strokes where the emulsion is gone: each picture's show one `tone`, from black to white.

    `count` scratches of width `width` and pieces of length `length`, in shares of the shorter side
    (`degrade.mask.Strokes`). They lie on the print as a mask that no one tells: `operator` is None.
    """

    count: int = 5
    width: Parameter = (0.002, 0.006)
    length: Parameter = (0.1, 0.5)
    tone: Parameter = (0.7, 1.0)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"Scratches.count must be a whole number >= 1, not {self.count!r}.")
        check(self, "width", 0.0, 1.0)
        check(self, "length", 0.0, 1.0)
        check(self, "tone", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The scratched picture."""
        key_where, key_tone = jax.random.split(key)
        strokes = Strokes(strokes=self.count, vertices=4, width=self.width, length=self.length, turn=(0.0, 25.0))
        whole = strokes(key_where, jnp.ones_like(x)).y
        return Observation(y=whole * x + (1.0 - whole) * draw(key_tone, self.tone).astype(x.dtype))


EXAMPLES = (
    {"name": "degrade.age.Fade"},
    {"name": "degrade.age.Scratches", "count": 2},
)
