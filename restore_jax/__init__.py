"""restore_jax: generative image restoration in JAX. Start with `restore_jax.core`.

restorer = restore_jax.load("outputs/run")      a run, a model's folder, or a shipped model's name
"""

from typing import Any

__version__ = "0.1.0"


def load(path: Any, sampler: Any = None) -> Any:
    """`infer.load.load`, imported when it is called: what restores is not wanted by everyone."""
    from restore_jax.infer.load import load

    return load(path, sampler)
