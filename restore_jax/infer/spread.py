"""How far the restorations of one photograph lie apart: beside the picture, in channels of its own."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, split
from restore_jax.infer.around import Around
from restore_jax.infer.samples import Samples


@dataclass(frozen=True, eq=False)
class Spread(Around):
    """`concatenate(x_hat, spread)`, 2 c channels; `spread` is a standard deviation, pixel by pixel.

        restorer.draws > 0     x_hat and spread are the mean and the deviation of `k` samples (`infer.samples`)
        restorer.draws == 0    x_hat is the restorer's; spread is that of its answers to y, to y mirrored along
                               either axis and along both, turned back

    A net that knows what it sees answers alike to all four; where they differ it guesses, and where they agree it may
    still be wrong. Costs k restorations, or four. `grain_std` adds grain to x_hat alone (`infer.grain`).

    Raises:
        ValueError: k is below 2, or grain_std below 0.
    """

    k: int = 4
    grain_std: float = 0.0

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"Spread.k must be at least 2, not {self.k}: one sample has no spread.")
        if not self.grain_std >= 0:
            raise ValueError(f"Spread.grain_std must be 0 or more, not {self.grain_std}.")

    @property
    def draws(self) -> int:
        """That of k samples, and one for the grain."""
        return self.k * self.restorer.draws + (self.grain_std > 0)

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w d"]:
        """The restoration, and behind its channels the spread."""
        key_grain, key = split(key)
        noise, grain = obs.cond.get("noise"), None
        if noise is not None and self.draws:
            kept = noise.shape[-1] // self.draws * self.k * self.restorer.draws
            grain = jnp.asarray(noise[..., kept:])
            obs = obs.with_cond(noise=jnp.asarray(noise[..., :kept]) if kept else None)
        if self.restorer.draws:
            x_hat, spread = Samples(self.restorer, self.k).mean_and_spread(key, obs)
        else:
            x_hat, spread = self._mirrored(key, obs)
        if self.grain_std:
            grain = jax.random.normal(key_grain, x_hat.shape) if grain is None else grain
            x_hat = x_hat + self.grain_std * grain[..., :1]
        return jnp.concatenate([x_hat, spread], axis=-1)

    def _mirrored(self, key: Keys, obs: Observation) -> tuple[Array, Array]:
        """The restorer's answer, and the deviation of its four mirrored ones; one program, four times over."""
        size = tuple(n * self.scale for n in obs.y.shape[-3:-1])

        def mirror(x: Any, g: Array) -> Array:
            x = jnp.where(g // 2 == 1, jnp.flip(x, -3), x)
            return jnp.where(g % 2 == 1, jnp.flip(x, -2), x)

        def answer(g: Array) -> Array:
            on_grid = lambda a: jnp.ndim(a) >= 3 and jnp.shape(a)[-3:-1] == size  # noqa: E731
            cond = {n: mirror(jnp.asarray(a), g) if on_grid(a) else a for n, a in obs.cond.items()}
            seen = obs.replace(y=mirror(jnp.asarray(obs.y), g), cond=cond)  # pyright: ignore[reportAttributeAccessIssue]
            return mirror(jnp.asarray(self.restorer(key, seen)), g)

        answers = jax.lax.map(answer, jnp.arange(4))
        return answers[0], jnp.std(answers, axis=0, ddof=1)
