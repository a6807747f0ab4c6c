"""restore_jax: generative image restoration in JAX. Start with `restore_jax.core`."""

__version__ = "0.1.0"
