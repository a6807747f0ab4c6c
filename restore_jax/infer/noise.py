"""Noise in the coordinates of a photograph: any part of it, without the rest.

JAX draws counter by counter: number i of `normal(key, shape)` depends on the key and on i alone,

    bits_i = hi ^ lo  of  threefry(key, (i >> 32, i & (2^32 - 1))),        n_i = sqrt(2) erf^-1(uniform(bits_i))

so that a tile draws exactly what the whole picture draws there, whatever the grid of tiles.
"""

import math

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from restore_jax.core import normal


def normal_part(
    key: Key[Array, ""],
    shape: tuple[int, int, int],
    rows: Int[np.ndarray, " p"],
    cols: Int[np.ndarray, " q"],
    index: int = 0,
) -> Float[np.ndarray, "p q d"]:
    """`normal(key, (n, *shape))[index, rows][:, cols]`, bit for bit, in memory of the part alone.

    Keys of another generator than threefry (`jax_threefry_partitionable` on, JAX's default) draw the whole picture.
    """
    h, w, d = shape
    if str(jax.random.key_impl(key)) != "threefry2x32" or not jax.config.jax_threefry_partitionable:  # pyright: ignore[reportAttributeAccessIssue]
        whole = np.asarray(normal(key, (index + 1, *shape)))[index]
        return whole[rows][:, cols]
    counts = (index * h + rows.astype(np.uint64))[:, None] * np.uint64(w) + cols.astype(np.uint64)[None]
    counts = counts[..., None] * np.uint64(d) + np.arange(d, dtype=np.uint64)[None, None]
    high, low = (counts >> np.uint64(32)).astype(np.uint32), counts.astype(np.uint32)
    return np.asarray(_normal(jax.random.key_data(key), high, low))


@jax.jit
def _normal(
    key_data: UInt32[Array, "2"], high: UInt32[Array, "p q d"], low: UInt32[Array, "p q d"]
) -> Float[Array, "p q d"]:
    n = math.prod(high.shape)
    hashed = jax.extend.random.threefry_2x32(key_data, jnp.concatenate([high.reshape(-1), low.reshape(-1)]))
    bits = hashed[:n] ^ hashed[n:]
    # As jax.random.normal: 23 bits to a uniform number in (-1, 1), and through the inverse of the error function.
    mantissa = jax.lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32) - 1.0
    least = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jnp.maximum(least, mantissa * (np.float32(1) - least) + least)
    return (np.float32(np.sqrt(2)) * jax.lax.erf_inv(uniform)).reshape(high.shape)
