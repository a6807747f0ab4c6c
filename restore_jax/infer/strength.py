"""How much of a restoration: one number between the input and the restorer."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation
from restore_jax.infer.around import Around


@dataclass(frozen=True, eq=False)
class Strength(Around):
    """`input + strength (restorer(input) - input)`, the input at the size of the answer (cubic where it is smaller).

    0 gives the input back and 1 the restorer, bit for bit; between them the distance from the input,
    `strength |restorer - input|` in any norm, grows evenly. Where the restorer halves the error of the input in an
    independent direction, the best strength for the error is below 1, and for the eye often too.

    Raises:
        ValueError: strength lies outside [0, 1].
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"Strength.strength lies in [0, 1] (0 the input, 1 the restorer), not {self.strength}.")

    @property
    def halo_px(self) -> int:
        """The restorer's, and the cubic's where the input is enlarged."""
        return max(super().halo_px, 0 if self.scale == 1 else 3 * self.scale)

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """Something between."""
        if self.strength == 0:
            return self.input_of(obs)
        x_hat = jnp.asarray(self.restorer(key, obs))
        if self.strength == 1:
            return x_hat
        y = self.input_of(obs)
        return y + self.strength * (x_hat - y)
