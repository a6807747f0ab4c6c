"""Smoothing filters: Gaussian blur as explicit weights, like `ops.resize`, and short kernels as shifted sums."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gaussian_weights(n: int, std: Float[Array, ""] | float, dtype: Any = jnp.float32) -> Float[Array, "n n"]:
    """The matrix of one-dimensional Gaussian blur of width `std` (pixels) on `n` samples.

    Row i is `exp(-(i - j)^2 / 2 std^2)`, normalised, with the samples mirrored at both ends (edge
    repeated), so that the matrix is symmetric and doubly stochastic: a constant stays constant, and
    the mean stays. Differentiable in `std`; `std -> 0` is the identity. Six mirror images are summed;
    the nearest one left out is `2 n + 1` away, 6 std or more (2e-8 of the peak) for `std <= n / 3`.
    """
    i = jnp.arange(n, dtype=dtype)
    std = jnp.maximum(jnp.asarray(std, dtype), 1e-3)  # below a thousandth of a pixel nothing changes
    bell = lambda d: jnp.exp(-0.5 * (d / std) ** 2)  # noqa: E731
    straight, mirrored = i[:, None] - i[None], i[:, None] + i[None] + 1
    weights = sum((bell(straight + k * n) + bell(mirrored + k * n) for k in (-2, 0, 2)), jnp.zeros((n, n), dtype))
    return weights / weights.sum(axis=1, keepdims=True)


def correlate_valid(x: Float[Array, "*b h w c"], taps: tuple[float, ...]) -> Float[Array, "*b p q c"]:
    """The separable kernel `taps x taps` at every position where it lies wholly inside the picture.

    `p = h - len(taps) + 1`, likewise q. Written as shifted multiply-adds, which fuse into one pass
    each way; cost `2 len(taps)` multiply-adds a value.
    """
    for axis in (x.ndim - 3, x.ndim - 2):
        size = x.shape[axis] - len(taps) + 1
        shifted = [t * jax.lax.slice_in_dim(x, k, k + size, axis=axis) for k, t in enumerate(taps)]
        x = sum(shifted[1:], shifted[0])
    return x
