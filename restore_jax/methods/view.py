"""Where a generated picture and its photograph are looked at from, drawn anew at each step."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, each, split


@dataclass(frozen=True)
class View:
    """Each picture of a batch rolled by 0 to `shift_px - 1` pixels along each axis, and mirrored along each or not.

        seen[i, j] = x[+-(i_0 + i) mod h, +-(j_0 + j) mod w]

    with (i_0, j_0) and the signs drawn for each picture of the batch, the same for all that are shown together. The
    pixels are only put elsewhere, so a distance between single pixels stays what it was. A network with strides looks
    at every place from all sides by and by: no phase of a pattern of its strides' period is better than another. What
    it likes in any phase stays liked (`metrics.grid`).

    Raises:
        ValueError: `shift_px` below 1.

    Reference: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", eq. 4-6 (real and
    generated alike, in both players' losses), with a circular translation; Kettunen et al. 2019, "E-LPIPS: robust
    perceptual image similarity via random transformation ensembles", section 4.
    """

    shift_px: int = 32  # the last stride of the features of metrics.perceptual and of most discriminators
    mirrored: bool = True

    def __post_init__(self) -> None:
        if self.shift_px < 1:
            raise ValueError(f"View.shift_px must be 1 (no shift) or above, not {self.shift_px}.")

    def __call__(self, key: Keys, *pictures: Float[Array, "b h w _"]) -> tuple[Float[Array, "b h w _"], ...]:
        """The pictures, each batch entry from its own place, all of one call from the same."""
        b, h, w = pictures[0].shape[:3]
        together = jnp.concatenate(pictures, axis=-1)
        seen = jax.vmap(self._from)(each(key, b), together)
        ends = [sum(p.shape[-1] for p in pictures[: k + 1]) for k in range(len(pictures) - 1)]
        return tuple(jnp.split(seen.reshape(b, h, w, -1), ends, axis=-1))

    def _from(self, key: Keys, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        for axis, one in enumerate(split(key)):
            key_shift, key_mirror = split(one)
            n = x.shape[axis]
            places = jnp.arange(n) + jax.random.randint(key_shift, (), 0, self.shift_px)
            if self.mirrored:
                places = jnp.where(jax.random.bernoulli(key_mirror), -places, places)
            x = jnp.take(x, places % n, axis=axis, unique_indices=True)
        return x


def shown(
    view: View | None, key: Keys, x_hat: Float[Array, "b h w c"], x: Float[Array, "b h w c"], obs: Observation
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"], Observation]:
    """x_hat, x and cond["image"] of a lifted `obs`, all from one place; as they are where there is no view."""
    if view is None:
        return x_hat, x, obs
    x_hat, x, image = view(key, x_hat, x, obs.cond["image"])
    return x_hat, x, obs.with_cond(image=image)


EXAMPLES = ({"name": "methods.view.View"}, {"name": "methods.view.View", "shift_px": 1})
