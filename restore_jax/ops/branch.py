"""A branch that is taken, not computed and thrown away, when a batch is mapped over it.

`vmap` of `lax.cond` or `lax.switch` computes every branch for every example and selects. Where the
branches differ much in cost, as the sizes between which a random degradation chooses, a CPU does
better to take the examples one after another, each through its own branch: `one_by_one`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import sequential_vmap


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(key, *arrays)`, whose `vmap` on a CPU is a loop over the examples. The numbers are the same.

    Elsewhere, where a batch at once is what the hardware is for, `vmap` stays what it is. Derivatives
    are backward ones, with respect to `arrays`; the function is computed again on the way back.
    """

    def backward(key: Any, arrays: Any, g: Any) -> Any:
        return jax.vjp(functools.partial(function, key), *arrays)[1](g)

    looped, looped_backward = sequential_vmap(function), sequential_vmap(backward)

    @jax.custom_vjp
    def call(key, *arrays):
        return looped(key, *arrays)

    def saved(key, *arrays):
        return looped(key, *arrays), (key, arrays)

    def pulled_back(residuals, g):
        key, arrays = residuals
        return None, *looped_backward(key, arrays, g)

    call.defvjp(saved, pulled_back)

    @functools.wraps(function)
    def choose(key, *arrays):
        return call(key, *arrays) if jax.default_backend() == "cpu" else function(key, *arrays)

    return choose
