"""Seconds a megapixel."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from restore_jax.core import Observation


def s_per_mp(restorer: Callable[[Any, Observation], Any], y: Float[np.ndarray, "h w c"], repeats: int = 5) -> float:
    """Seconds for one output megapixel: the least of `repeats` restorations of `y`, compiled and warm.

    The restorer is called as it stands: hand over a compiled one (`infer.tile.Tile`, `jax.jit`). The
    least, for whatever else a machine does only ever adds to a time.
    """
    obs, key = Observation(y=np.asarray(y)[None]), jax.random.key(0)
    pixels = np.prod(jax.block_until_ready(restorer(key, obs)).shape[1:3])
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(restorer(key, obs))
        times.append(time.perf_counter() - start)
    return min(times) / pixels * 1e6
