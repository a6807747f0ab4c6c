"""Core ML: a graph as one `.mlpackage` for iOS 18, macOS 15 and later.

JAX -> StableHLO -> MIL, Core ML's intermediate language -> package. Any computer can write one, and only
Apple's can run one. Elsewhere `CoreMLModel` evaluates the saved package operation by operation in NumPy: that
proves what the file means, and says nothing of Apple's compiler, of where on the chip it runs, or how fast.
"""

import io
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import jax
import numpy as np

from restore_jax.export.graph import Graph, explained, whole

MISSING = 'Core ML needs the extra "export": pip install "restore-jax[export]".'
RANK = "Transpose one axis at a time: a pixel shuffle is height, then width, five axes each."
FIELDS = {  # where Core ML keeps what Xcode shows
    "author": "author",
    "short_description": "shortDescription",
    "license": "license",
    "version": "versionString",
}


def to_coreml(graph: Graph, path: str | os.PathLike[str]) -> Path:
    """Write `graph` to the package `path`, a folder `*.mlpackage`; whole or not at all.

    Float32, multi-arrays of the graph's shapes under its names. `graph.metadata` goes to the fields that
    Xcode shows ("author", "short_description", "license", "version") or, by any other name, to the
    user-defined ones. 4 bytes a parameter; tens of seconds for a U-Net, ten of them to import coremltools.

    Raises:
        ImportError: the extra is not installed.
        ValueError: `path` does not end in `.mlpackage`.
        ExportError: an operation that Core ML does not have, or an array of more than 5 axes.
    """
    if Path(path).suffix != ".mlpackage":
        raise ValueError(f"{os.fspath(path)!r} must end in .mlpackage.")
    with quietly():
        try:
            import coremltools as ct
            import stablehlo_coreml
            from jax.interpreters import mlir
        except ImportError as error:
            raise ImportError(MISSING) from error

        target = ct.target.iOS18  # the first whose MIL has all that StableHLO needs
        passes = stablehlo_coreml.build_pass_pipeline()
        # It turns a x + b into a batch normalisation of variance 1 whose epsilon stays 1e-5, so that each
        # of them is off by 5e-6 of itself: 20 dB of parity in a U-Net.
        passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
        stablehlo = graph.lower().mlir_module()
        try:
            with mlir.make_ir_context():
                program = stablehlo_coreml.convert(mlir.ir.Module.parse(stablehlo), target)
            model: Any = ct.convert(
                program,
                source="milinternal",
                minimum_deployment_target=target,
                compute_precision=ct.precision.FLOAT32,
                pass_pipeline=passes,
                skip_model_load=True,
            )
        except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
            traceback.clear_frames(error.__traceback__)  # they hold a temporary folder open
            hints = [RANK] if "rank <= 5" in str(error) else []
            raise explained(graph, "Core ML", error, *hints) from error

        spec = model.get_spec()
        label(spec, graph)
        with whole(path) as fresh:
            package = ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
            package.save(os.fspath(fresh))
    return Path(path)


def label(spec: Any, graph: Graph) -> None:
    """Give a specification the names and the metadata of `graph`, in place."""
    from coremltools.models.utils import rename_feature

    names = [*graph.inputs, graph.output]
    features = [*spec.description.input, *spec.description.output]
    # In two rounds: the converter may have called one feature what another is to be called.
    for new_names in ([f"_new_{name}" for name in names], names):
        for feature, name in zip(features, new_names, strict=True):
            rename_feature(spec, feature.name, name)
    for name, text in graph.metadata.items():
        if name in FIELDS:
            setattr(spec.description.metadata, FIELDS[name], text)
        else:
            spec.description.metadata.userDefined[name] = text


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a saved package takes, returns and weighs, read from its specification.

    `{"inputs": {name: shape}, "outputs": {name: shape}, "bytes": of the whole folder}`.

    Raises:
        ImportError: the extra is not installed.
    """
    description = saved(path).description
    return {
        "inputs": {one.name: tuple(one.type.multiArrayType.shape) for one in description.input},
        "outputs": {one.name: tuple(one.type.multiArrayType.shape) for one in description.output},
        "bytes": sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file()),
    }


def saved(path: str | os.PathLike[str]) -> Any:
    """The specification in a saved package: Core ML's protocol buffer `Model`."""
    with quietly():
        try:
            from coremltools.models.utils import load_spec
        except ImportError as error:
            raise ImportError(MISSING) from error
        return load_spec(os.fspath(path))


class CoreMLModel:
    """A saved package as a function of named arrays, evaluated in NumPy by what each operation means.

    `x_hat = model(y=y, noise=noise)`. Runs also where Core ML does not, several times slower than JAX: it is
    there to compare a package with its graph. coremltools says what an operation does to constants, which
    covers all that a U-Net is made of but convolutions; those are JAX's. `inputs` and `outputs` are the
    shapes by name, `ops` the operations in the order of execution, constants left out. Not thread-safe.

    Raises:
        ImportError: the extra is not installed.
        ValueError: (when called) names or shapes that are not those of `inputs`.
        NotImplementedError: (when called) an operation that coremltools does not evaluate.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        description, spec = describe(path), saved(path)
        from coremltools.converters.mil.frontend.milproto.load import load

        self.inputs, self.outputs = description["inputs"], description["outputs"]
        weights = Path(path) / "Data" / "com.apple.CoreML" / "weights"
        self._main = load(spec, spec.specificationVersion, os.fspath(weights)).functions["main"]
        constants = [op for op in self._main.operations if op.op_type == "const"]
        self._steps = [op for op in self._main.operations if op.op_type != "const"]
        self.ops = [op.op_type for op in self._steps]
        for op in constants:  # a saved flag comes back as NumPy's, which NumPy itself refuses for `keepdims`
            if isinstance(op.outputs[0].val, np.bool_):
                op.outputs[0]._sym_val.val = bool(op.outputs[0].val)

    def __call__(self, **arrays: Any) -> np.ndarray:
        """The output for arrays of the names and shapes of `inputs`, taken as float32."""
        given = {name: np.shape(array) for name, array in arrays.items()}
        if given != self.inputs:
            raise ValueError(f"The package takes {self.inputs} and was given {given}.")
        for name, array in arrays.items():
            fix(self._main.inputs[name], array)
        for op in self._steps:
            values = convolution(op) if op.op_type == "conv" else op.value_inference()
            for var, value in zip(op.outputs, values if isinstance(values, tuple | list) else [values]):
                fix(var, value)
        return self._main.outputs[0].val


def fix(var: Any, value: Any) -> None:
    """Make `value`, in the type of the MIL variable `var`, what operations read there, like a constant."""
    from coremltools.converters.mil.mil.types import nptype_from_builtin

    var._sym_val = var.sym_type()
    var._sym_val.val = np.asarray(value).astype(nptype_from_builtin(var.dtype))


def convolution(op: Any) -> np.ndarray:
    """MIL's `conv`: x `n c h w`, weight `o (i / groups) h w`, `pad` before and after each axis in turn."""
    custom = op.pad_type.val == "custom"
    y = jax.lax.conv_general_dilated(
        op.x.val,
        op.weight.val,
        window_strides=op.strides.val,
        padding=op.pad.val.reshape(-1, 2) if custom else op.pad_type.val.upper(),
        rhs_dilation=op.dilations.val,
        feature_group_count=int(op.groups.val),
        precision="highest",
    )
    return np.asarray(y) + (0 if op.bias is None else op.bias.val[:, None, None])


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what coremltools prints off the user's screen: progress, and remarks on versions of libraries.

    None of those libraries is used here. Errors are exceptions, and pass.
    """
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Implicitly cleaning up", ResourceWarning)  # its own folders
            yield
    finally:
        logger.setLevel(level)
