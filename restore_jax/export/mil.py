"""A saved Core ML package run anywhere: MIL, operation by operation, in NumPy, in the types that the file says."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from restore_jax.export.activations import FP16_LIMIT
from restore_jax.export.coreml import describe, quietly, saved


class CoreMLModel:
    """A saved package as a function of named arrays, evaluated in NumPy by what each operation means.

    `x_hat = model(y=y, noise=noise)`. Runs also where Core ML does not, several times slower than JAX: it is
    there to compare a package with its graph. coremltools says what an operation does to constants, which
    covers all that our nets are made of but convolutions and pooling; those are JAX's, and `linear`, `matmul` and the
    exact `gelu`, at which it is slow, are written here. In a package of 16 bits the answer of each operation is rounded
    to them, and sums within one are of float32; a chip may keep more. `inputs` and `outputs` are the shapes of
    `function` (or of the default one) by name, `ops` its operations in the order of execution, constants left out.
    Images are `1 h w c` in 8 bits. Not thread-safe.

    Raises:
        ImportError: the extra is not installed.
        ValueError: the package has no such function; (when called) names or shapes that are not those of `inputs`.
        NotImplementedError: (when called) an operation that coremltools does not evaluate; ValueError: max_pool with
            ceil_mode.
    """

    def __init__(self, path: str | os.PathLike[str], function: str | None = None) -> None:
        description, spec = describe(path, function), saved(path)
        from coremltools.converters.mil.frontend.milproto.load import load

        self.inputs, self.outputs = description["inputs"], description["outputs"]
        self.functions, self._images = description["functions"], description["images"]
        weights = Path(path) / "Data" / "com.apple.CoreML" / "weights"
        name = function or spec.description.defaultFunctionName or "main"
        with quietly():
            self._main = load(spec, spec.specificationVersion, os.fspath(weights)).functions[name]
        constants = [op for op in self._main.operations if op.op_type == "const"]
        self._steps = [op for op in self._main.operations if op.op_type != "const"]
        self.ops = [op.op_type for op in self._steps]
        for op in constants:  # a saved flag comes back as NumPy's, which NumPy itself refuses for `keepdims`
            if isinstance(op.outputs[0].val, np.bool_):
                op.outputs[0]._sym_val.val = bool(op.outputs[0].val)

    def __call__(self, **arrays: Any) -> np.ndarray:
        """The output for arrays of the names and shapes of `inputs`, taken as float32 or, of images, as 8 bits."""
        self._run(arrays)
        output = self._main.outputs[0].val
        if self._images:
            return np.moveaxis(output, 1, -1).astype(np.uint8)
        return output

    def values(self, **arrays: Any) -> list[np.ndarray]:
        """Every array that the package computes on its way."""
        self._run(arrays)
        computed = [op for op in self._steps if not op.op_type.startswith("constexpr")]
        return [np.asarray(var.val) for op in computed for var in op.outputs]

    def loud(self, pictures: Iterable[Mapping[str, Any]], limit: float = FP16_LIMIT) -> tuple[str, ...]:
        """The arrays, by name, in which any of `pictures` leads to a number above `limit`, or to none at all.

        Asked of a package of 32 bits, they are those that 16 cannot hold.
        """
        found: dict[str, None] = {}
        for arrays in pictures:
            self._run(dict(arrays))
            answered = [var for op in self._steps for var in op.outputs]
            found |= {var.name: None for var in answered if is_large(var.val, limit)}
        return tuple(found)

    def _run(self, arrays: dict[str, Any]) -> None:
        given = {name: np.shape(array) for name, array in arrays.items()}
        if given != self.inputs:
            raise ValueError(f"The package takes {self.inputs} and was given {given}.")
        for name, array in arrays.items():
            fix(self._main.inputs[name], np.moveaxis(array, -1, 1) if name in self._images else array)
        # Where 16 bits overflow they do so silently, as on a chip; the output shows it.
        with np.errstate(over="ignore", invalid="ignore"):
            for op in self._steps:
                values = evaluated(op)
                for var, value in zip(op.outputs, values if isinstance(values, tuple | list) else [values]):
                    fix(var, value)


def evaluated(op: Any) -> Any:
    """What an operation answers for the values of its inputs."""
    if op.op_type == "conv":
        return convolution(op)
    if op.op_type == "max_pool":
        return largest(op)
    if op.op_type in ("linear", "matmul"):
        return product(op)
    if op.op_type == "gelu" and op.mode.val == "EXACT":
        return gelu(op)
    if op.op_type.startswith("constexpr"):  # weights in fewer bits
        return op.materialized_val_inference()
    return op.value_inference()


def is_large(value: Any, limit: float) -> bool:
    """Whether an array of floating point holds a number of more than `limit`, or none."""
    array = np.asarray(value)
    return bool(array.dtype.kind == "f" and array.size and not np.max(np.abs(array)) <= limit)


def fix(var: Any, value: Any) -> None:
    """Make `value`, in the type of the MIL variable `var`, what operations read there, like a constant."""
    from coremltools.converters.mil.mil.types import nptype_from_builtin

    var._sym_val = var.sym_type()
    var._sym_val.val = np.asarray(value).astype(nptype_from_builtin(var.dtype))


def convolution(op: Any) -> np.ndarray:
    """MIL's `conv`: x `n c h w`, weight `o (i / groups) h w`, `pad` before and after each axis in turn."""
    custom = op.pad_type.val == "custom"
    y = jax.lax.conv_general_dilated(
        jnp.asarray(op.x.val, jnp.float32),
        jnp.asarray(op.weight.val, jnp.float32),
        window_strides=op.strides.val,
        padding=op.pad.val.reshape(-1, 2) if custom else op.pad_type.val.upper(),
        rhs_dilation=op.dilations.val,
        feature_group_count=int(op.groups.val),
        precision="highest",
    )
    return np.asarray(y) + (0 if op.bias is None else op.bias.val[:, None, None])


def product(op: Any) -> np.ndarray:
    """MIL's `linear`, `x weight^T + bias`, and `matmul`, `x y`, either side transposed where it says so."""
    if op.op_type == "linear":
        left, right = op.x.val, op.weight.val.T
        bias = 0 if op.bias is None else op.bias.val
    else:
        left, right = (
            np.swapaxes(side.val, -1, -2) if turned.val else side.val
            for side, turned in ((op.x, op.transpose_x), (op.y, op.transpose_y))
        )
        bias = 0
    return np.matmul(np.asarray(left, np.float32), np.asarray(right, np.float32)) + bias


def gelu(op: Any) -> np.ndarray:
    """MIL's exact `gelu`, `x (1 + erf(x / sqrt 2)) / 2`."""
    x = np.asarray(op.x.val, np.float32)
    return x * (1 + scipy.special.erf(x / np.float32(np.sqrt(2)))) / 2


def largest(op: Any) -> np.ndarray:
    """MIL's `max_pool`: x `n c h w`, the largest of each window; nothing beyond the border is."""
    if op.ceil_mode.val:
        raise ValueError("max_pool with ceil_mode is not evaluated here: no converter of ours writes it.")
    custom, x = op.pad_type.val == "custom", np.asarray(op.x.val)
    y = jax.lax.reduce_window(
        jnp.asarray(x, jnp.float32),
        -jnp.inf,
        jax.lax.max,
        window_dimensions=(1, 1, *op.kernel_sizes.val),
        window_strides=(1, 1, *op.strides.val),
        padding=((0, 0), (0, 0), *op.pad.val.reshape(-1, 2)) if custom else op.pad_type.val.upper(),
    )
    return np.asarray(y).astype(x.dtype)
