"""Linear operators by their algebra: identity, separable, composed."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from restore_jax.core import Operator
from restore_jax.ops.resize import separable


@struct.dataclass
class Identity(Operator):
    """`A x = x`."""

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """`x`."""
        return x

    def adjoint(self, y: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """`y`."""
        return y

    def solve(self, r: Float[Array, "h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "h w c"]:
        """`r / (1 + reg)`."""
        return r / (1.0 + reg)


@struct.dataclass
class Separable(Operator):
    """`A x = rows @ x @ cols^T` in each channel: blurs, resampling, and their products.

    `rows: [p, h]` and `cols: [q, w]` are leaves. With `rows rows^T = U a U^T` and
    `cols cols^T = V b V^T`, the eigenvalues of `A A^T` are the products `a_i b_j`, so that `solve`
    is exact at the cost of two small eigendecompositions, O(p^3 + q^3).
    """

    rows: Any
    cols: Any

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "p q c"]:
        """`rows @ x @ cols^T`."""
        return separable(x, self.rows, self.cols)

    def adjoint(self, y: Float[Array, "p q c"]) -> Float[Array, "h w c"]:
        """`rows^T @ y @ cols`."""
        return separable(y, self.rows.T, self.cols.T)

    def solve(self, r: Float[Array, "p q c"], reg: Float[Array, "..."] | float) -> Float[Array, "p q c"]:
        """`U (U^T r V / (a b^T + reg)) V^T`; directions below rounding are given up, not blown up.

        A `reg` that varies over the picture has no closed form and goes to conjugate gradients.
        """
        if jnp.ndim(reg) > 0:
            return Operator.solve(self, r, reg)
        a, u = jnp.linalg.eigh(self.rows @ self.rows.T)
        b, v = jnp.linalg.eigh(self.cols @ self.cols.T)
        spectrum = (a[:, None] * b[None, :])[..., None]
        denominator = spectrum + reg
        # The eigenvalues carry an absolute error of about n eps times the largest.
        rounding = max(r.shape[0], r.shape[1]) * jnp.finfo(r.dtype).eps * jnp.max(spectrum)
        inverse = jnp.where(denominator > rounding, 1.0 / jnp.maximum(denominator, rounding), 0.0)
        return separable(separable(r, u.T, v.T) * inverse, u, v)


@struct.dataclass
class Compose(Operator):
    """`A x = outer(inner(x))`."""

    outer: Operator
    inner: Operator

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "..."]:
        """`outer(inner(x))`."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Float[Array, "..."]) -> Float[Array, "h w c"]:
        """`inner^T outer^T y`."""
        return self.inner.adjoint(self.outer.adjoint(y))


def compose(outer: Operator, inner: Operator) -> Operator:
    """`outer after inner`, kept in closed form where the two allow it."""
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Identity):
        return inner
    if isinstance(outer, Separable) and isinstance(inner, Separable):
        return Separable(in_shape=inner.in_shape, rows=outer.rows @ inner.rows, cols=outer.cols @ inner.cols)
    return Compose(in_shape=inner.in_shape, outer=outer, inner=inner)
