"""Blurs: a Gaussian as two dense products, and every other kernel as a convolution.

A blur that has a kernel says how large it is (`size`, odd) and what lies beyond the border (`boundary`): "circular",
where `solve` is exact, or "reflect", "symmetric", "replicate" and "zero" (`ops.fourier.convolve`). Lengths are in
pixels, angles in radians from the columns' direction (right) towards the rows' (down).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import inf, pi
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from PIL import Image

from restore_jax.core import Observation
from restore_jax.degrade.linear import Convolution, PaddedConvolution, PatchConvolution, Separable
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops import kernel as kernels
from restore_jax.ops.filter import gaussian_weights
from restore_jax.ops.fourier import BOUNDARIES


@dataclass(frozen=True)
class GaussianBlur:
    """`y = A x`, the isotropic Gaussian blur of width `std` pixels, mirrored at the borders.

    `std` is one number or a range drawn uniformly for each picture. A thousandth of a pixel or
    less changes nothing. Cost: two dense products, `(h + w) h w c` multiply-adds.
    """

    std: Parameter = 1.2

    def __post_init__(self) -> None:
        check(self, "std", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The blurred picture and its `Separable` operator."""
        std = draw(key, self.std)
        rows = gaussian_weights(x.shape[0], std, x.dtype)
        cols = gaussian_weights(x.shape[1], std, x.dtype)
        operator = Separable(in_shape=x.shape, rows=rows, cols=cols)
        return Observation(y=operator(x), operator=operator)


def _fit(shape: tuple[int, ...], x: Float[Array, "h w c"], owner: str) -> None:
    """Raises ValueError, naming the field `owner`, where a kernel of `shape` is larger than the picture."""
    (p, q), (h, w) = shape[-2:], x.shape[:2]
    if p > h or q > w:
        raise ValueError(f"{owner}: the kernel, {p} x {q}, must not be larger than the picture, {h} x {w}.")


def _observe(kernel: Float[Array, "p q"], boundary: str, x: Float[Array, "h w c"], owner: str) -> Observation:
    """The picture under a kernel, and its operator; `owner` is the field to blame where the kernel does not fit."""
    _fit(kernel.shape, x, owner)
    if boundary == "circular":
        operator = Convolution(in_shape=x.shape, kernel=kernel)
    else:
        operator = PaddedConvolution(in_shape=x.shape, kernel=kernel, boundary=boundary)
    return Observation(y=operator(x), operator=operator)


@dataclass(frozen=True)
class _KernelBlur:
    """What all blurs with a kernel share: `y = kernel * x`, the kernel drawn for each picture."""

    size: int = field(default=21, kw_only=True)
    boundary: str = field(default="circular", kw_only=True)

    _ranges: ClassVar[dict[str, tuple[float, float]]] = {}  # of the parameters

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"{name}.size must be an odd number of pixels, 1 or more, not {self.size!r}.")
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"{name}.boundary must be one of {', '.join(BOUNDARIES)}, not {self.boundary!r}.")
        for parameter, (low, high) in self._ranges.items():
            check(self, parameter, low, high)

    def kernel(self, key: Key[Array, ""], dtype: Any) -> Float[Array, "p q"]:
        """A kernel, its parameters drawn in the order of `_ranges`."""
        keys = jax.random.split(key, max(len(self._ranges), 1))
        drawn = {name: draw(one, getattr(self, name)).astype(dtype) for name, one in zip(self._ranges, keys)}
        return self._shape(drawn, dtype)

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        raise TypeError(f"{type(self).__name__} does not define its kernel.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The blurred picture, and its operator, which holds the kernel."""
        owner = f"{type(self).__name__}.size"
        _fit((self.size, self.size), x, owner)  # before anything is drawn
        return _observe(self.kernel(key, x.dtype), self.boundary, x, owner)


_ELLIPSE = {"std_x": (0.0, inf), "std_y": (0.0, inf), "angle": (-inf, inf)}


@dataclass(frozen=True)
class AnisotropicGaussian(_KernelBlur):
    """A Gaussian of widths `std_x` and `std_y` along axes turned by `angle`, cut to `size` pixels a side."""

    std_x: Parameter = (0.6, 4.0)
    std_y: Parameter = (0.6, 4.0)
    angle: Parameter = (0.0, pi)
    _ranges: ClassVar = _ELLIPSE

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        return kernels.gaussian(self.size, dtype=dtype, **drawn)


@dataclass(frozen=True)
class GeneralisedGaussian(AnisotropicGaussian):
    """`exp(-(d^T S^-1 d)^shape / 2)`: `shape` 1 is the Gaussian, less is peaked, more is flat-topped."""

    shape: Parameter = (0.5, 4.0)
    _ranges: ClassVar = {**_ELLIPSE, "shape": (0.1, 20.0)}

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        return kernels.generalised_gaussian(self.size, dtype=dtype, **drawn)


@dataclass(frozen=True)
class Plateau(AnisotropicGaussian):
    """`1 / (1 + (d^T S^-1 d)^shape)`: a flat top with long tails, longer where `shape` is small."""

    shape: Parameter = (1.0, 2.0)
    _ranges: ClassVar = {**_ELLIPSE, "shape": (0.1, 20.0)}

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        return kernels.plateau(self.size, dtype=dtype, **drawn)


@dataclass(frozen=True)
class Sinc(_KernelBlur):
    """The low-pass filter that keeps frequencies below `cutoff` radians a pixel, and rings at edges."""

    cutoff: Parameter = (pi / 3, pi)
    _ranges: ClassVar = {"cutoff": (0.0, pi)}

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        return kernels.sinc(self.size, drawn["cutoff"], dtype)


@dataclass(frozen=True)
class Defocus(_KernelBlur):
    """The disk of confusion of a lens out of focus, of `radius` pixels, `size / 2` at the most."""

    radius: Parameter = (1.0, 5.0)
    _ranges: ClassVar = {"radius": (0.0, inf)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "radius", 0.0, self.size / 2)

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        return kernels.disk(self.size, drawn["radius"], dtype)


@dataclass(frozen=True)
class Motion(_KernelBlur):
    """Even motion by `length` pixels, `size - 1` at the most, on a straight line in the direction `angle`."""

    length: Parameter = (1.0, 20.0)
    angle: Parameter = (0.0, pi)
    _ranges: ClassVar = {"length": (0.0, inf), "angle": (-inf, inf)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "length", 0.0, float(self.size - 1))

    def _shape(self, drawn: dict[str, Any], dtype: Any) -> Float[Array, "k k"]:
        return kernels.line(self.size, drawn["length"], drawn["angle"], dtype)


@dataclass(frozen=True)
class HandShake(_KernelBlur):
    """The blur of a hand-held exposure: a random path of the camera, `length` pixels long in all.

    The velocity is a random walk with memory, `v[t + 1] = inertia v[t] + n[t]`: at 1 the path bends slowly, at 0
    it trembles on the spot. The path is scaled to `length`, its centre of mass is put at the kernel's centre, so
    that the picture is not displaced, and where it leaves the `size x size` grid it stays at the border. Slow parts
    weigh more, as they do on a sensor. Cost: `(4 size)^2` multiply-adds a kernel, and `ops.kernel.splat`.

    Reference: after Boracchi and Foi 2012, "Modeling the performance of image restoration from motion blur", whose
    model also has a pull towards the centre and sudden jolts.
    """

    length: Parameter = (5.0, 30.0)
    inertia: Parameter = (0.8, 0.98)

    _ranges: ClassVar = {"length": (0.0, inf), "inertia": (0.0, 1.0)}

    def kernel(self, key: Key[Array, ""], dtype: Any) -> Float[Array, "k k"]:
        """The kernel of one path."""
        key_length, key_inertia, key_path = jax.random.split(key, 3)
        length, inertia = draw(key_length, self.length).astype(dtype), draw(key_inertia, self.inertia).astype(dtype)
        steps = max(64, 4 * self.size)  # an exposure's worth: neighbours on a path as long as the grid are 1/4 apart
        lag = np.arange(steps)[:, None] - np.arange(steps)[None]
        memory = jnp.where(lag >= 0, inertia ** jnp.asarray(np.maximum(lag, 0), dtype), 0.0)
        pushes = jax.random.normal(key_path, (steps, 2), dtype)
        velocity = jnp.matmul(memory, pushes, precision=jax.lax.Precision.HIGHEST)
        path = jnp.cumsum(velocity * (length / jnp.sum(jnp.sqrt(jnp.sum(velocity**2, axis=1)))), axis=0)
        return kernels.splat(path - path.mean(axis=0, keepdims=True), self.size)


@dataclass(frozen=True)
class Psf:
    """A measured point spread function, scaled to the sum 1: `weights`, or number `index` of the file at `path`.

    `weights` are rows of numbers, written out. A file is one of MATLAB's, `.mat` (a cell array of kernels, a stack
    `[p, q, n]`, or one matrix; the first variable that is one of these), an `.npy` (a stack `[n, p, q]`, or one
    matrix) or a picture (grey, or the mean of its colours). An even side is made odd by a row or column of zeros at
    its end, which leaves the centre at `p // 2`. MATLAB's files of version 7.3 are HDF5 and need the package h5py.
    A file is read when the object is made, and once a process.

    Raises:
        ValueError: both or neither are given, no such file, no kernel in it, or no kernel of that number.
    """

    path: str = ""
    index: int = 0
    weights: tuple[tuple[float, ...], ...] = ()
    boundary: str = "circular"

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"Psf.boundary must be one of {', '.join(BOUNDARIES)}, not {self.boundary!r}.")
        if bool(self.path) == bool(self.weights):
            raise ValueError("Psf wants either a path or weights.")
        found = self._found()
        if not 0 <= self.index < len(found):
            raise ValueError(f"Psf.index must be in [0, {len(found) - 1}] for {self._source()}, not {self.index!r}.")

    def kernel(self, key: Key[Array, ""], dtype: Any) -> Float[Array, "p q"]:
        """The kernel; nothing is drawn."""
        return jnp.asarray(self._found()[self.index], dtype)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The blurred picture, and its operator, which holds the kernel."""
        return _observe(self.kernel(key, x.dtype), self.boundary, x, f"Psf: number {self.index} of {self._source()}")

    def _source(self) -> str:
        return self.path or "weights"

    def _found(self) -> tuple[np.ndarray, ...]:
        if self.path:
            return _measured(self.path)
        if len({len(row) for row in self.weights}) != 1:
            raise ValueError("Psf.weights must be rows of one length.")
        return _kernels({"weights": np.asarray(self.weights, float)}, "Psf.weights")


@lru_cache(maxsize=64)
def _measured(path: str) -> tuple[np.ndarray, ...]:
    """The kernels of a file, float64, of odd sizes and summing to 1."""
    if not Path(path).is_file():
        raise ValueError(f"Psf.path: there is no file {path}.")
    suffix = Path(path).suffix.lower()
    if suffix == ".mat":
        variables = _matlab(path)
    elif suffix == ".npy":
        array = np.load(path)
        variables = {"array": list(array) if array.ndim == 3 else array}
    else:
        with Image.open(path) as picture:
            grey = np.asarray(picture if picture.mode in ("L", "I", "F", "I;16") else picture.convert("RGB"), float)
        variables = {"picture": grey.mean(axis=2) if grey.ndim == 3 else grey}
    return _kernels(variables, f"Psf.path: {path}")


def _kernels(variables: dict[str, Any], source: str) -> tuple[np.ndarray, ...]:
    """The first of the variables that is a kernel or a list of kernels, made fit for use."""
    for value in variables.values():
        found = [np.asarray(one) for one in (value if isinstance(value, list) else [value])]
        if found and all(map(_is_kernel, found)):
            return tuple(map(_prepared, found))
    shapes = ", ".join(f"{name} {np.shape(v[0] if isinstance(v, list) and v else v)}" for name, v in variables.items())
    raise ValueError(f"{source} holds no kernel, a nearly square matrix of positive sum: {shapes}.")


def _is_kernel(array: np.ndarray) -> bool:
    """A matrix of real numbers, at the most twice as long as it is wide, with a sum to divide by."""
    if array.ndim != 2 or array.dtype.kind not in "fiu" or min(array.shape) < 1:
        return False
    return max(array.shape) <= 2 * min(array.shape) and bool(np.isfinite(array).all()) and float(array.sum()) > 0


def _prepared(kernel: np.ndarray) -> np.ndarray:
    p, q = kernel.shape
    kernel = np.pad(kernel.astype(np.float64), ((0, 1 - p % 2), (0, 1 - q % 2)))
    kernel /= kernel.sum()
    kernel.flags.writeable = False
    return kernel


def _matlab(path: str) -> dict[str, Any]:
    """The variables of a MATLAB file, cells and stacks as lists."""
    import scipy.io

    try:
        loaded = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    except NotImplementedError:  # scipy's word for version 7.3
        loaded = _matlab_hdf5(path)
    listed = {}
    for name, value in loaded.items():
        if value.dtype == object:
            listed[name] = list(value.ravel())
        else:
            listed[name] = [value[..., i] for i in range(value.shape[2])] if value.ndim == 3 else value
    return listed


def _matlab_hdf5(path: str) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise ValueError(f"Psf.path: {path} is a MATLAB file of version 7.3 and needs `pip install h5py`.") from None
    variables = {}
    with h5py.File(path) as file:
        for name, item in file.items():
            if not isinstance(item, h5py.Dataset):
                continue
            value = item[()].T  # MATLAB counts columns first
            if value.dtype == object:
                cells = np.empty(value.size, object)
                cells[:] = [np.asarray(file[reference]).T for reference in value.ravel()]
                value = cells
            variables[name] = value
    return variables


@dataclass(frozen=True)
class SpatiallyVarying:
    """A blur that differs over the picture: `blur` draws a kernel for each of `grid x grid` patches, softly blended.

    `blur` is any blur of this file that has a kernel, and its `boundary` holds. See `PatchConvolution`.
    """

    blur: Any
    grid: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.blur, _KernelBlur | Psf):
            raise ValueError(f"SpatiallyVarying.blur must be a blur that has a kernel, not {self.blur!r}.")
        if self.grid < 1:
            raise ValueError(f"SpatiallyVarying.grid must be 1 or more, not {self.grid!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The blurred picture, and its `PatchConvolution`."""
        n = self.grid
        if n > min(x.shape[:2]):
            raise ValueError(f"SpatiallyVarying.grid must be at most {min(x.shape[:2])}, the shorter side, not {n}.")
        drawn = jax.vmap(lambda one: self.blur.kernel(one, x.dtype))(jax.random.split(key, n * n))
        _fit(drawn.shape, x, "SpatiallyVarying.blur")
        stacked = drawn.reshape(n, n, *drawn.shape[1:])
        operator = PatchConvolution(in_shape=x.shape, kernels=stacked, boundary=self.blur.boundary)
        return Observation(y=operator(x), operator=operator)


_LINE = {"name": "degrade.blur.Motion", "size": 5, "length": (1.0, 4.0), "boundary": "zero"}
_WEIGHTS = ((0.0, 1.0, 2.0), (0.0, 4.0, 2.0), (1.0, 0.0, 0.0))  # nothing symmetric about it

EXAMPLES = (
    {"name": "degrade.blur.GaussianBlur", "std": 1.2},
    {"name": "degrade.blur.GaussianBlur", "std": (0.2, 2.0)},
    {"name": "degrade.blur.GaussianBlur", "std": 0.0},
    {"name": "degrade.blur.AnisotropicGaussian", "size": 5},
    {"name": "degrade.blur.AnisotropicGaussian", "size": 5, "std_x": 0.8, "std_y": 0.4, "boundary": "reflect"},
    {"name": "degrade.blur.GeneralisedGaussian", "size": 5},
    {"name": "degrade.blur.Plateau", "size": 5},
    {"name": "degrade.blur.Sinc", "size": 5},
    {"name": "degrade.blur.Defocus", "size": 5, "radius": (0.0, 2.0)},
    {"name": "degrade.blur.Motion", "size": 5, "length": (0.0, 4.0)},
    {"name": "degrade.blur.HandShake", "size": 5, "length": (1.0, 6.0)},
    {"name": "degrade.blur.Psf", "weights": _WEIGHTS, "boundary": "replicate"},
    {"name": "degrade.blur.SpatiallyVarying", "blur": _LINE, "grid": 2},
)
