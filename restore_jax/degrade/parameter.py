"""A degradation's parameter: one number, or a range to draw from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Parameter = float | tuple[float, float]


def draw(key: Key[Array, ""], value: Parameter) -> Float[Array, ""]:
    """`value` itself, or a uniform draw from `value = (low, high)`."""
    if isinstance(value, tuple):
        return jax.random.uniform(key, minval=value[0], maxval=value[1])
    return jnp.asarray(value, float)


def check(owner: object, field: str, low: float, high: float = float("inf")) -> None:
    """Raises ValueError, naming class and field, unless the parameter lies in [low, high]."""
    value = getattr(owner, field)
    ends = value if isinstance(value, tuple) else (value, value)
    if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
        name = f"{type(owner).__name__}.{field}"
        raise ValueError(f"{name} must be a number or a rising pair in [{low:g}, {high:g}], not {value!r}.")
