"""Linear operators by their algebra: identity, scale, separable, convolution, stacked, composed; and their norm.

`spectrum()`, where an operator has it, is every singular value of `A`, as often as it occurs and in no particular
order, in whatever shape they come.

`svd()`, where an operator has it, is `(values, rotation)`: the orthogonal operator `V^T` from pictures to pictures of
the same shape, and for each number of `V^T x` the singular value it is seen with, 0 for what A does not see:

    A^T A x = rotation.adjoint(values^2 * rotation(x))

Values below rounding, which `solve` gives up, are 0 exactly.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Operator
from restore_jax.ops.fourier import convolve, convolve_circular, filter_circular, otf
from restore_jax.ops.resize import separable

_EXACT = jax.lax.Precision.HIGHEST


@struct.dataclass
class Identity(Operator):
    """`A x = x`."""

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`x`."""
        return x

    def adjoint(self, y: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`y`."""
        return y

    def solve(self, r: Float[Array, "*t h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "*t h w c"]:
        """`r / (1 + reg)`."""
        return r / (1.0 + reg)

    def spectrum(self) -> Float[Array, "*t h w c"]:
        """Ones."""
        return jnp.ones(self.in_shape)

    def svd(self) -> tuple[Float[Array, "*t h w c"], Operator]:
        """Ones, and itself."""
        return self.spectrum(), self


@struct.dataclass
class Scale(Operator):
    """`A x = gain x`; `gain` is one number, or an array that broadcasts to the shape of x: `[1, 1, c]`, `[h, w, 1]`."""

    gain: Any

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`gain x`."""
        return self.gain * x

    def adjoint(self, y: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`gain y`: the operator is diagonal, so it is its own transpose."""
        return self.gain * y

    def solve(self, r: Float[Array, "*t h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "*t h w c"]:
        """`r / (gain^2 + reg)`, and 0 where both vanish."""
        denominator = self.gain**2 + reg
        return jnp.where(denominator > 0, r / jnp.where(denominator > 0, denominator, 1.0), 0.0)

    def spectrum(self) -> Float[Array, "*t h w c"]:
        """`|gain|`."""
        gain = jnp.asarray(self.gain)
        gain = gain.reshape((1,) * (len(self.in_shape) - gain.ndim) + gain.shape)
        return jnp.broadcast_to(jnp.abs(gain), self.in_shape)

    def svd(self) -> tuple[Float[Array, "*t h w c"], Operator]:
        """`|gain|`, and the identity."""
        return self.spectrum(), Identity(in_shape=self.in_shape)


@struct.dataclass
class Separable(Operator):
    """`A x = rows @ x @ cols^T` in each channel: blurs, resampling, and their products.

    `rows: [p, h]` and `cols: [q, w]` are leaves. With `rows rows^T = U a U^T` and
    `cols cols^T = V b V^T`, the eigenvalues of `A A^T` are the products `a_i b_j`, so that `solve`
    is exact at the cost of two small eigendecompositions, O(p^3 + q^3).
    """

    rows: Any
    cols: Any

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "p q c"]:
        """`rows @ x @ cols^T`."""
        return separable(x, self.rows, self.cols)

    def adjoint(self, y: Float[Array, "p q c"]) -> Float[Array, "*t h w c"]:
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

    def spectrum(self) -> Float[Array, "m n c"]:
        """The products of the singular values of `rows` and of `cols`, in each channel."""
        a, b = (jnp.linalg.svd(one, compute_uv=False) for one in (self.rows, self.cols))
        return jnp.broadcast_to((a[:, None] * b[None, :])[..., None], (len(a), len(b), self.in_shape[-1]))

    def svd(self) -> tuple[Float[Array, "*t h w c"], Operator]:
        """`sqrt(a_i b_j)` and `V^T x W`, of `rows^T rows = V a V^T` and `cols^T cols = W b W^T`. Cost: O(h^3 + w^3)."""
        a, v = jnp.linalg.eigh(_gram(self.rows))
        b, w = jnp.linalg.eigh(_gram(self.cols))
        square = (a[:, None] * b[None, :])[..., None]
        values = jnp.broadcast_to(root(square, max(*self.rows.shape, *self.cols.shape)), self.in_shape)
        return values, Separable(in_shape=self.in_shape, rows=v.T, cols=w.T)


@struct.dataclass
class Convolution(Operator):
    """`A x = kernel * x` on a torus: what leaves the picture on one side enters it on the other.

    `kernel: [p, q]` is a leaf, centred at `(p // 2, q // 2)` and not larger than the picture. The Fourier transform
    diagonalises it: with `k = otf(kernel)`, the singular values are `|k|`. Cost: two transforms a channel.
    """

    kernel: Any

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`F^-1 (k F x)`."""
        return convolve_circular(x, self.kernel)

    def adjoint(self, y: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`F^-1 (conj(k) F y)`."""
        return filter_circular(y, jnp.conj(self._otf()))

    def solve(self, r: Float[Array, "*t h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "*t h w c"]:
        """`F^-1 (F r / (|k|^2 + reg))`; frequencies below rounding are given up, not blown up.

        A `reg` that varies over the picture has no closed form and goes to conjugate gradients.
        """
        if jnp.ndim(reg) > 0:
            return Operator.solve(self, r, reg)
        power = jnp.abs(self._otf()) ** 2
        denominator = power + reg
        rounding = max(r.shape[-3], r.shape[-2]) * jnp.finfo(r.dtype).eps * jnp.max(power)  # as Separable's
        inverse = jnp.where(denominator > rounding, 1.0 / jnp.maximum(denominator, rounding), 0.0)
        return filter_circular(r, inverse)

    def spectrum(self) -> Float[Array, "*b h w c"]:
        """`|k|` at all `h w` frequencies, in each channel."""
        p, q = self.kernel.shape
        h, w = self.in_shape[-3:-1]
        k = jnp.fft.fft2(jnp.pad(self.kernel, ((0, h - p), (0, w - q))))  # where the centre is changes no modulus
        return jnp.broadcast_to(jnp.abs(k).reshape((1,) * (len(self.in_shape) - 3) + (h, w, 1)), self.in_shape)

    def svd(self) -> tuple[Float[Array, "*b h w c"], Operator]:
        """`|k|` and the Hartley transform: `A^T A` filters by `|k|^2`, the same at a frequency and its mirror."""
        return root(self.spectrum() ** 2, max(self.in_shape[-3:-1])), Hartley(in_shape=self.in_shape)

    def _otf(self) -> Any:
        return otf(self.kernel, *self.in_shape[-3:-1])


@struct.dataclass
class Hartley(Operator):
    """`A x = Re F x - Im F x`, with F the unitary Fourier transform of each channel: orthogonal and its own inverse.

    The real transform that diagonalises every filter with a real transfer function that is the same at a frequency and
    its mirror. Its kernel is `cos + sin`. Cost: one transform a channel.

    Reference: Bracewell 1983, "Discrete Hartley transform".
    """

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`Re F x - Im F x`."""
        z = jnp.fft.fft2(x, axes=(-3, -2), norm="ortho")
        return z.real - z.imag

    def adjoint(self, y: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """The same: its kernel is symmetric in pixel and frequency."""
        return self(y)

    def solve(self, r: Float[Array, "*t h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "*t h w c"]:
        """`r / (1 + reg)`."""
        return r / (1.0 + reg)


@struct.dataclass
class PaddedConvolution(Operator):
    """`A x = kernel * x` with `boundary` beyond the border: one of those of `ops.fourier.convolve`.

    No transform diagonalises it: `solve` goes to conjugate gradients.
    """

    kernel: Any
    boundary: str = struct.field(pytree_node=False, default="reflect")

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """The picture is padded, convolved and cut back to its size."""
        return convolve(x, self.kernel, self.boundary)


@struct.dataclass
class PatchConvolution(Operator):
    """`A x = sum_ij kernels[i, j] * (rows_i cols_j x)`: the image of each scene point, blended over an n x n grid.

    `kernels: [n, n, p, q]` is a leaf. `rows_i` and `cols_j` are squared cosines around the middles of n equal
    strips, which sum to 1; outside the outermost middles the outermost kernel stands alone. Light is conserved:
    every point of the scene spreads by a kernel of sum 1. Cost: n^2 convolutions, one after the other, so that
    memory does not grow with n.

    Reference: Hirsch et al. 2010, "Efficient filter flow for space-variant multiframe blind deconvolution".
    """

    kernels: Any
    boundary: str = struct.field(pytree_node=False, default="circular")

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """Each patch is faded out at its edges, blurred by its own kernel, and all are added."""
        blur = lambda y, patch: (y + convolve(patch[0] * x, patch[1], self.boundary), None)  # noqa: E731
        return jax.lax.scan(blur, jnp.zeros_like(x), self._patches(x.dtype))[0]

    def adjoint(self, y: Float[Array, "*t h w c"]) -> Float[Array, "*t h w c"]:
        """`sum_ij rows_i cols_j (kernels[i, j]^T y)`."""

        def spread(x: Any, patch: Any) -> Any:
            one = PaddedConvolution(in_shape=self.in_shape, kernel=patch[1], boundary=self.boundary)
            return x + patch[0] * one.adjoint(y), None

        return jax.lax.scan(spread, jnp.zeros_like(y), self._patches(y.dtype))[0]

    def _patches(self, dtype: Any) -> tuple[Any, Any]:
        """The windows `[n^2, h, w, 1]` and the kernels `[n^2, p, q]`."""
        n = self.kernels.shape[0]
        rows, cols = (_fades(length, n) for length in self.in_shape[:2])
        windows = (rows[:, None, :, None] * cols[None, :, None, :]).reshape(n * n, *self.in_shape[:2], 1)
        return jnp.asarray(windows, dtype), self.kernels.reshape(n * n, *self.kernels.shape[2:])


def _fades(length: int, n: int) -> np.ndarray:
    """`[n, length]`: squared cosines around the middles of n strips; each column sums to 1."""
    position = np.clip((np.arange(length) + 0.5) * n / length - 0.5, 0, n - 1)  # in strips, 0 at the first middle
    away = np.abs(position[None] - np.arange(n)[:, None])
    return np.where(away < 1, np.cos(np.pi / 2 * away) ** 2, 0.0)


@struct.dataclass
class Stack(Operator):
    """`A x = [A_1 x, A_2 x, ...]`: several operators see the same picture; `y` has a new first axis.

    All of them take `in_shape` and give one shape. `A A^T` is always singular, so that a noisy `y` has no exact `x`;
    `pinv` gives the least-squares one.

    Raises:
        ValueError: at the first use, where the operators' shapes differ.
    """

    operators: Any  # a tuple of operators

    def __call__(self, x: Float[Array, "*b h w c"]) -> Float[Array, "n ..."]:
        """Each operator's image of x, side by side."""
        images = [operator(x) for operator in self.operators]
        shapes = [(operator.in_shape, image.shape) for operator, image in zip(self.operators, images)]
        if len(set(shapes)) != 1 or shapes[0][0] != self.in_shape:
            raise ValueError(
                f"Stack.operators must be one or more that take {self.in_shape} and give one shape, "
                f"not (in_shape, shape of the image) {shapes}."
            )
        return jnp.stack(images)

    def adjoint(self, y: Float[Array, "n ..."]) -> Float[Array, "*b h w c"]:
        """`sum_i A_i^T y_i`."""
        images = (operator.adjoint(y[i]) for i, operator in enumerate(self.operators))
        return sum(images, jnp.zeros(self.in_shape, y.dtype))

    def solve(self, r: Float[Array, "n ..."], reg: Float[Array, "..."] | float) -> Float[Array, "n ..."]:
        """By conjugate gradients; at `reg = 0` on `A^T A`, where they find `(A A^T)^+ r = A (A^T A)^+2 A^T r`.

        On `A A^T` itself they would run away along what no `x` explains.
        """

        def least_squares(r: Any) -> Any:
            w = self.adjoint(r)
            for _ in range(2):
                w, _ = jax.scipy.sparse.linalg.cg(lambda v: self.adjoint(self(v)), w, tol=1e-6, maxiter=100)
            return self(w)

        if jnp.ndim(reg) > 0:
            return Operator.solve(self, r, reg)
        if isinstance(reg, int | float):
            return Operator.solve(self, r, reg) if reg > 0 else least_squares(r)
        return jax.lax.cond(reg > 0, lambda r: Operator.solve(self, r, reg), least_squares, r)


@struct.dataclass
class Compose(Operator):
    """`A x = outer(inner(x))`."""

    outer: Operator
    inner: Operator

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "..."]:
        """`outer(inner(x))`."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Float[Array, "..."]) -> Float[Array, "*t h w c"]:
        """`inner^T outer^T y`."""
        return self.inner.adjoint(self.outer.adjoint(y))


def compose(outer: Operator, inner: Operator) -> Operator:
    """`outer after inner`, kept in closed form where the two allow it.

    Closed are: anything with the identity, scale with scale, a scale by one number with a separable operator or a
    convolution, two separable ones, and two convolutions whose joint kernel fits into the picture.
    """
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Identity):
        return inner
    if isinstance(outer, Separable) and isinstance(inner, Separable):
        return Separable(in_shape=inner.in_shape, rows=outer.rows @ inner.rows, cols=outer.cols @ inner.cols)
    if isinstance(outer, Scale) and isinstance(inner, Scale):
        return Scale(in_shape=inner.in_shape, gain=outer.gain * inner.gain)
    for scale, other in ((outer, inner), (inner, outer)):
        if isinstance(scale, Scale) and jnp.ndim(scale.gain) == 0:
            if isinstance(other, Separable):
                return other.replace(in_shape=inner.in_shape, rows=scale.gain * other.rows)
            if isinstance(other, Convolution):
                return other.replace(kernel=scale.gain * other.kernel)
    if isinstance(outer, Convolution) and isinstance(inner, Convolution):
        (p, q), (s, t) = outer.kernel.shape, inner.kernel.shape
        fits = p + s - 1 <= inner.in_shape[-3] and q + t - 1 <= inner.in_shape[-2]
        if fits and p % 2 and q % 2 and s % 2 and t % 2:  # odd sizes, so that the centres add
            kernel = jax.scipy.signal.convolve2d(outer.kernel, inner.kernel, mode="full", precision=_EXACT)
            return Convolution(in_shape=inner.in_shape, kernel=kernel)
    return Compose(in_shape=inner.in_shape, outer=outer, inner=inner)


def root(square: Float[Array, "*s"], n: int) -> Float[Array, "*s"]:
    """The singular values of their squares, sums of n terms: 0 below `n eps max(square)`, where `solve` gives up."""
    seen = square > n * jnp.finfo(square.dtype).eps * jnp.max(square)
    return jnp.where(seen, jnp.sqrt(jnp.where(seen, square, 1.0)), 0.0)  # the slope of a root at 0 is not finite


def _gram(matrix: Float[Array, "p h"]) -> Float[Array, "h h"]:
    return jnp.matmul(matrix.T, matrix, precision=_EXACT)


def norm(key: Key[Array, ""], operator: Operator, iterations: int = 50) -> Float[Array, ""]:
    """`|A|`, the largest singular value of `A`, by power iteration on `A^T A`; never more than it, but for rounding.

    From a random start: after k iterations on n pixels the mean estimate is below `|A|` by a share of `log(n) / (2 k)`
    at the most, and by far less where the largest value stands out. Cost: one `A` and one `A^T` an iteration.

    Reference: Kuczynski and Wozniakowski 1992, "Estimating the largest eigenvalue by the power and Lanczos
    algorithms with a random start".
    """
    leaves = jax.tree.leaves(operator)
    dtype = jnp.result_type(*leaves) if leaves else jnp.float32
    tiny = jnp.finfo(dtype).tiny

    def unit(v: Any) -> Any:
        return v / jnp.maximum(jnp.sqrt(jnp.sum(v**2)), tiny)  # the zero operator's norm is 0, not NaN

    start = unit(jax.random.normal(key, operator.in_shape, dtype))
    v = jax.lax.fori_loop(0, iterations, lambda _, v: unit(operator.adjoint(operator(v))), start)
    return jnp.sqrt(jnp.sum(operator(v) ** 2))
