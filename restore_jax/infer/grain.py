"""Grain: a little noise over a restoration, which looks smooth without."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, normal, split
from restore_jax.infer.around import Around

_MAD_OF_NORMAL = 0.6744897501960817  # the median of |n|


@dataclass(frozen=True, eq=False)
class Grain(Around):
    """`x_hat + std n`, n white and normal, one for all channels; or, with `std = None`, `share` of what was removed.

    What was removed is measured picture by picture, robustly: `std = share median|input - x_hat| / 0.674`, which edges
    that the restorer sharpened hardly change. n is the last of the noise images: one more draw than the restorer's, of
    which the first channel counts. Costs its square in mean squared error, and is for the eye only.

    Raises:
        ValueError: std or share is negative.
    """

    std: float | None = None
    share: float = 0.3

    def __post_init__(self) -> None:
        for name in ("std", "share"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"Grain.{name} must be 0 or more, not {value}.")

    @property
    def draws(self) -> int:
        """One more than the restorer's."""
        return self.restorer.draws + 1

    @property
    def local(self) -> bool:
        """Where the deviation is given; measured, it is that of the whole picture."""
        return super().local and self.std is not None

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The restoration, grainy."""
        key_noise, key_restorer = split(key)
        noise = obs.cond.get("noise")
        grain = None
        if noise is not None:
            kept = noise.shape[-1] // self.draws * self.restorer.draws
            grain = jnp.asarray(noise[..., kept:])
            obs = obs.with_cond(noise=noise[..., :kept] if kept else None)
        x_hat = jnp.asarray(self.restorer(key_restorer, obs))
        if grain is None:
            grain = normal(key_noise, x_hat.shape)
        if self.std is None:
            removed = jnp.abs(self.input_of(obs) - x_hat)
            std = self.share * jnp.median(removed, axis=(-3, -2, -1), keepdims=True) / _MAD_OF_NORMAL
        else:
            std = jnp.asarray(self.std, x_hat.dtype).reshape((1,) * x_hat.ndim)
        return x_hat + std * grain[..., :1]
