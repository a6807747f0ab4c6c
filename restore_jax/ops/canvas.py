"""Pictures whose size is a number in the program, not a shape: drawn on a canvas that is large enough.

A blind degradation resizes by a random factor. Under `jit` shapes are fixed, so that the picture of
`m_h x m_w` pixels (traced) lies in the upper left corner of a canvas of fixed shape, and resampling is
from canvas to canvas. Beyond its corner the picture goes on as its mirror image, edge repeated: a
filter that looks past the border sees what it would see past the border of a picture of that size.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from restore_jax.ops.resize import separable

KERNELS = ("area", "linear", "cubic")


def resample_weights(
    n_in: int,
    n_out: int,
    m_in: Shaped[Array, ""] | float | int,
    m_out: Shaped[Array, ""] | float | int,
    kernel: Shaped[Array, ""] | int,
    dtype: Any = jnp.float32,
) -> Float[Array, "n_out n_in"]:
    """The matrix that takes `m_in` samples on a canvas of `n_in` to `m_out` samples on one of `n_out`.

    `kernel` is an index into KERNELS: the mean over the footprint of the new sample (area), or
    interpolation between 2 (linear) or 4 neighbours (cubic, Keys 1981, a = -3/4) without
    antialiasing: the ways in which pictures are resized in the wild. All of `m_in`, `m_out` and
    `kernel` may be traced. New samples beyond `m_out` are those of the mirrored picture. Rows sum to 1.
    Cost: about 100 operations an entry.
    """
    ratio = jnp.asarray(m_in, dtype) / m_out
    centre = (jnp.arange(n_out, dtype=dtype) + 0.5) * ratio
    centre = jnp.mod(centre, 2.0 * m_in)
    centre = jnp.minimum(centre, 2.0 * m_in - centre)[:, None] - 0.5  # folded back into the picture
    width = jnp.maximum(ratio, 1.0)

    def weight(distance):
        d = jnp.abs(distance)
        area = jnp.clip(0.5 * (width + 1.0) - d, 0.0, 1.0)  # overlap of a pixel with the footprint
        linear = jnp.maximum(1.0 - d, 0.0)
        near = (1.25 * d - 2.25) * d * d + 1.0
        far = ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0
        cubic = jnp.where(d <= 1.0, near, jnp.where(d < 2.0, far, 0.0))
        return jnp.where(kernel == 0, area, jnp.where(kernel == 1, linear, cubic))

    j = jnp.arange(n_in, dtype=dtype)[None]
    mirrored = weight(centre - j) + weight(centre + j + 1.0) + weight(centre + j + 1.0 - 2.0 * m_in)
    weights = jnp.where(j < m_in, mirrored, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def resample(
    x: Float[Array, "h w c"],
    m_in: tuple[Any, ...],
    shape: tuple[int, ...],
    m_out: tuple[Any, ...],
    kernel: Shaped[Array, ""] | int,
) -> Float[Array, "p q c"]:
    """The picture of `m_in` pixels on the canvas `x`, resized to `m_out` pixels on a canvas of `shape`.

    Cost: `p h w c + p q w c` multiply-adds, and the matrices.
    """
    rows = resample_weights(x.shape[0], shape[0], m_in[0], m_out[0], kernel, x.dtype)
    cols = resample_weights(x.shape[1], shape[1], m_in[1], m_out[1], kernel, x.dtype)
    return separable(x, rows, cols)
