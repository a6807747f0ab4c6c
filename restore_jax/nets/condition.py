"""How a network is told the noise level: an embedding of `c_noise`, and FiLM to act on it.

    c_noise  [b]  --features-->  [b 2n]  --MLP-->  embedding [b e]      NoiseEmbedding, once a network
    x -> x * (1 + scale) + shift,   (scale, shift) = Dense(silu(embedding))     Film, once a block

`c_noise` is whatever the preconditioning says (EDM: log(sigma) / 4; a flow: its time in [0, 1]), a
number of order one. A net that is told two levels (CTM, MeanFlow, shortcut) adds a second embedding that is
`quiet`, or passes `[b 2]` to one.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def sinusoids(t: Float[Array, "*b"], n: int, low: float = 0.25, high: float = 16.0) -> Float[Array, "*b {2*n}"]:
    """`[cos(w t), sin(w t)]` at `n` angular frequencies `w`, geometric from `low` to `high`.

    `low` is slow enough that sin(low t) tells any two t in (-2 pi, 2 pi) apart; `high` bounds the
    derivative in t, which consistency training differentiates (a large one makes it unstable).
    In float32 at least: the phase of a bf16 angle is noise.

    Reference: Vaswani et al. 2017, "Attention Is All You Need", section 3.5; the bound on the
    frequencies: Lu & Song 2024 (sCM), section 4.1.
    """
    t = t.astype(jnp.promote_types(t.dtype, jnp.float32))
    angle = jnp.multiply.outer(t, jnp.geomspace(low, high, n, dtype=t.dtype))
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


class NoiseEmbedding(nn.Module):
    """`c_noise -> Dense(silu(Dense(sinusoids(c_noise))))`, a vector of `features` numbers an image.

    A `quiet` one's last Dense starts at zero: added to another embedding, it changes nothing until it is trained.

    Reference: Ho et al. 2020 (DDPM), appendix B; Karras et al. 2022 (EDM), table 1, `c_noise`.
    """

    features: int
    frequencies: int = 32
    dtype: Any = None
    quiet: bool = False

    @nn.compact
    def __call__(self, c_noise: Float[Array, " b *n"]) -> Float[Array, "b e"]:
        """The embedding of one number an image, or of several: their features side by side."""
        h = sinusoids(c_noise, self.frequencies).reshape(c_noise.shape[0], -1)
        h = nn.Dense(self.features, dtype=self.dtype)(h)
        init = nn.initializers.zeros if self.quiet else nn.linear.default_kernel_init
        return nn.Dense(self.features, kernel_init=init, dtype=self.dtype)(jax.nn.silu(h))


class Film(nn.Module):
    """`x * (1 + scale) + shift` with `(scale, shift) = Dense(silu(embedding))`: one pair a channel.

    The Dense starts at zero, so a fresh Film is the identity. Place it after a normalisation.

    Reference: Perez et al. 2018, "FiLM", eq. 2; zero start: Peebles & Xie 2023 (DiT), section 3.2.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], embedding: Float[Array, "b e"]) -> Float[Array, "b *s c"]:
        """`x` modulated image by image; any number of space axes."""
        dense = nn.Dense(2 * x.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype or x.dtype)
        moments = dense(jax.nn.silu(embedding))
        scale, shift = jnp.split(moments.reshape(x.shape[0], *(1,) * (x.ndim - 2), -1), 2, axis=-1)
        return x * (1 + scale) + shift
