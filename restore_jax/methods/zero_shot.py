"""A prior behind any operator: restoration that nobody trained for."""

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, PyTree, Sampler
from restore_jax.methods.regression import Regression


@dataclass(frozen=True, eq=False)  # compared by identity, so that jax.jit takes it as it is
class ZeroShot:
    """The restorer `sampler(key, D, obs)`: D denoises photographs, and the sampler makes them agree with `obs`.

    `method` was trained without conditions (`configs/prior.py`), and `sampler` comes from `diffusion.posterior`. It
    restores a photograph as a whole: tiles would each need their own operator.
    """

    method: Regression
    params: PyTree
    sampler: Sampler

    @property
    def scale(self) -> int:
        """1: the operator says how x and y are related."""
        return 1

    @property
    def draws(self) -> int:
        """Noise images a restoration."""
        return self.sampler.draws

    @property
    def nfe(self) -> int:
        """Evaluations of the network a restoration."""
        return self.sampler.nfe

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample of p(x | y); not clipped.

        Raises:
            ValueError: the network was trained to see conditions; a prior sees none.
        """
        sees = getattr(self.method.precondition, "sees", ())
        if sees:
            raise ValueError(
                f"ZeroShot wants a prior, and this network sees {', '.join(sees)}: train one with"
                " precondition.sees = (), as configs/prior.py does."
            )
        obs = dataclasses.replace(obs, cond={name: a for name, a in obs.cond.items() if name == "noise"})

        def network(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            flat = x_t.reshape(-1, *x_t.shape[-3:])  # networks speak of one batch axis
            levels = jnp.reshape(sigma, (-1,)) if jnp.ndim(sigma) else sigma
            return self.method.evaluate(self.params, flat, levels, obs).reshape(x_t.shape)

        denoise: Denoiser = network
        for guide in self.method.guidance:
            denoise = guide(denoise, obs)
        return self.sampler(key, denoise, obs)
