"""Core ML: graphs as one `.mlpackage` for iOS 18, macOS 15 and later.

JAX -> StableHLO -> MIL, Core ML's intermediate language -> package. Any computer can write one, and only
Apple's can run one. Elsewhere `mil.CoreMLModel` evaluates the saved package operation by operation in NumPy: that
proves what the file means, and says nothing of Apple's compiler, of where on the chip it runs, or how fast.

    fp32         weights and arithmetic in 32 bits
    fp16         both in 16, but for the operations of `keep_float32`
    int8-weights the same arithmetic, weights in 8 bits with a scale a channel
    palette8     the same arithmetic, weights out of tables of 256 numbers
"""

import dataclasses
import io
import logging
import os
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from restore_jax.export.graph import Graph, explained, whole

MISSING = 'Core ML needs the extra "export": pip install "restore-jax[export]".'
RANK = "Transpose one axis at a time: a pixel shuffle is height, then width, five axes each."
PRECISIONS = ("fp32", "fp16", "int8-weights", "palette8")
MOVES = {
    "reshape",
    "transpose",
    "expand_dims",
    "squeeze",
    "identity",
    "concat",
    "split",
    "slice_by_index",
    "slice_by_size",
}
LEAST_WEIGHTS = 512  # below, the tables weigh more than they save
FIELDS = {  # where Core ML keeps what Xcode shows
    "author": "author",
    "short_description": "shortDescription",
    "license": "license",
    "version": "versionString",
}


def to_coreml(
    graph: Graph | Mapping[str, Graph],
    path: str | os.PathLike[str],
    precision: str = "fp32",
    keep_float32: tuple[str, ...] = (),
    images: bool = False,
) -> Path:
    """Write `graph` to the package `path`, a folder `*.mlpackage`; whole or not at all.

    Several graphs, by name, become the functions of one package, the first its default one; they hold the weights
    they share once. `keep_float32` names what stays in float32 where `precision` is not "fp32": types of
    operations, such as "reduce_mean", or arrays as a package of 32 bits calls them (`mil.CoreMLModel.loud`), with
    whatever reads or answers them. Arrays are multi-arrays of the graph's shapes under its names, in float32; with
    `images`, `y` and the output are 8-bit images instead (RGB, or grey of one channel), and what lies between is in
    the package. Metadata is that of the first graph: it goes to the fields that Xcode shows ("author",
    "short_description", "license", "version") or, by any other name, to the user-defined ones. Tens of seconds for
    a U-Net, ten of them to import coremltools.

    Raises:
        ImportError: the extra is not installed.
        ValueError: `path` does not end in `.mlpackage`; another precision; no graph.
        ExportError: an operation that Core ML does not have, or an array of more than 5 axes.
    """
    if Path(path).suffix != ".mlpackage":
        raise ValueError(f"{os.fspath(path)!r} must end in .mlpackage.")
    if precision not in PRECISIONS:
        raise ValueError(f"to_coreml: precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
    graphs = {"main": graph} if isinstance(graph, Graph) else dict(graph)
    if not graphs:
        raise ValueError("to_coreml: graph must be one or more graphs by name; none was given.")
    first = next(iter(graphs.values()))
    with quietly():
        try:
            import coremltools as ct
            import stablehlo_coreml  # noqa: F401 - so that its absence is said here
        except ImportError as error:
            raise ImportError(MISSING) from error

        with whole(path) as fresh:
            if len(graphs) == 1:
                written(first, fresh, precision, keep_float32, images)
                return Path(path)
            with tempfile.TemporaryDirectory(prefix="coreml.") as folder:
                together = ct.utils.MultiFunctionDescriptor()
                for name, one in graphs.items():
                    single = Path(folder) / f"{name}.mlpackage"
                    written(one, single, precision, keep_float32, images)
                    together.add_function(os.fspath(single), "main", name)
                together.default_function_name = next(iter(graphs))
                combined = Path(folder) / "all.mlpackage"
                ct.utils.save_multifunction(together, os.fspath(combined))
                spec = ct.utils.load_spec(os.fspath(combined))
                inscribe(spec, first)  # what the functions say of themselves was kept, what the packages did was not
                weights = combined / "Data" / "com.apple.CoreML" / "weights"
                ct.models.MLModel(spec, weights_dir=os.fspath(weights), skip_model_load=True).save(os.fspath(fresh))
    return Path(path)


class Half:
    """Whether an operation of MIL has 16 bits: asked of all in the order of execution, once each.

    Not those whose type is in `keep`, nor those that read or answer an array that is. What only moves numbers answers
    such an array where it reads one: later passes take it away, so that no package names its answer.
    """

    def __init__(self, keep: tuple[str, ...]) -> None:
        self.keep = set(keep)

    def __call__(self, op: Any) -> bool:
        """True for 16 bits."""
        sides = (side if isinstance(side, list | tuple) else (side,) for side in op.inputs.values())
        read = {var.name for side in sides for var in side if var is not None}
        answered = {var.name for var in op.outputs}
        if op.op_type in MOVES and read & self.keep:
            self.keep |= answered
        return not ({op.op_type} | read | answered) & self.keep


def written(graph: Graph, path: Path, precision: str, keep_float32: tuple[str, ...], images: bool) -> None:
    """Write one graph to the package `path`, its names and metadata in place."""
    import coremltools as ct
    import coremltools.optimize.coreml as compress
    import stablehlo_coreml
    from jax.interpreters import mlir

    target = ct.target.iOS18  # the first whose MIL has all that StableHLO needs
    passes = stablehlo_coreml.build_pass_pipeline()
    # It turns a x + b into a batch normalisation of variance 1 whose epsilon stays 1e-5, so that each
    # of them is off by 5e-6 of itself: 20 dB of parity in a U-Net.
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    half: Any = ct.transform.FP16ComputePrecision(op_selector=Half(keep_float32))
    stablehlo = (as_pixels(graph) if images else graph).lower().mlir_module()
    try:
        with mlir.make_ir_context():
            program = stablehlo_coreml.convert(mlir.ir.Module.parse(stablehlo), target)
        model: Any = ct.convert(
            program,
            source="milinternal",
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32 if precision == "fp32" else half,
            pass_pipeline=passes,
            skip_model_load=True,
        )
        if precision == "int8-weights":
            linear: Any = compress.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=LEAST_WEIGHTS)
            model = compress.linear_quantize_weights(model, compress.OptimizationConfig(global_config=linear))
        if precision == "palette8":
            palette: Any = compress.OpPalettizerConfig(mode="kmeans", nbits=8, weight_threshold=LEAST_WEIGHTS)
            model = compress.palettize_weights(model, compress.OptimizationConfig(global_config=palette))
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        traceback.clear_frames(error.__traceback__)  # they hold a temporary folder open
        hints = [RANK] if "rank <= 5" in str(error) else []
        raise explained(graph, "Core ML", error, *hints) from error

    spec = model.get_spec()
    label(spec, graph)
    if images:
        depict(spec, graph)
    ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True).save(os.fspath(path))


def as_pixels(graph: Graph) -> Graph:
    """The graph with `y` and the output as Core ML hands images over: `1 c h w`, whole numbers in [0, 255]."""

    def function(*arrays: Array) -> Array:
        given = [a.transpose(0, 2, 3, 1) / 255 if name == "y" else a for name, a in zip(graph.inputs, arrays)]
        x_hat = graph.function(*given)
        return jnp.round(255 * jnp.clip(x_hat, 0, 1)).transpose(0, 3, 1, 2)

    b, h, w, c = graph.inputs["y"].shape
    pixels = {"y": jax.ShapeDtypeStruct((b, c, h, w), jnp.float32)}
    return dataclasses.replace(graph, function=function, inputs={**graph.inputs, **pixels})


def label(spec: Any, graph: Graph) -> None:
    """Give a specification the names and the metadata of `graph`, in place."""
    from coremltools.models.utils import rename_feature

    names = [*graph.inputs, graph.output]
    features = [*spec.description.input, *spec.description.output]
    # In two rounds: the converter may have called one feature what another is to be called.
    for new_names in ([f"_new_{name}" for name in names], names):
        for feature, name in zip(features, new_names, strict=True):
            rename_feature(spec, feature.name, name)
    for feature in features:
        feature.shortDescription = graph.metadata.get(f"{feature.name}_description", "")
    inscribe(spec, graph)


def inscribe(spec: Any, graph: Graph) -> None:
    """Give a specification the metadata of `graph`, in place."""
    for name, text in graph.metadata.items():
        if name in FIELDS:
            setattr(spec.description.metadata, FIELDS[name], text)
        else:
            spec.description.metadata.userDefined[name] = text


def depict(spec: Any, graph: Graph) -> None:
    """Declare `y` and the output of a specification of `as_pixels(graph)` images of 8 bits, in place."""
    from coremltools.proto import FeatureTypes_pb2

    for feature in [*spec.description.input, *spec.description.output]:
        if feature.name in ("y", graph.output):
            _, channels, height, width = feature.type.multiArrayType.shape
            space = "GRAYSCALE" if channels == 1 else "RGB"
            feature.type.imageType.colorSpace = FeatureTypes_pb2.ImageFeatureType.ColorSpace.Value(space)
            feature.type.imageType.height, feature.type.imageType.width = height, width


def describe(path: str | os.PathLike[str], function: str | None = None) -> dict[str, Any]:
    """What a saved package takes, returns and weighs, read from its specification.

    `{"inputs": {name: shape}, "outputs": {name: shape}, "bytes": of the whole folder, "images": names of those that are
    8-bit images, "functions": names}`; shapes are `1 h w c` for images, and those of `function`, or the default one.

    Raises:
        ImportError: the extra is not installed.
        ValueError: the package has no such function.
    """
    description = saved(path).description
    functions = {one.name: one for one in description.functions} or {"main": description}
    name = function or description.defaultFunctionName or "main"
    if name not in functions:
        raise ValueError(f"describe: function must be one of {', '.join(functions)}, not {name!r}.")
    inputs, outputs = functions[name].input, functions[name].output
    return {
        "inputs": {one.name: shape(one.type) for one in inputs},
        "outputs": {one.name: shape(one.type) for one in outputs},
        "bytes": sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file()),
        "images": tuple(one.name for one in [*inputs, *outputs] if one.type.WhichOneof("Type") == "imageType"),
        "functions": tuple(functions),
    }


def shape(kind: Any) -> tuple[int, ...]:
    """The shape of a feature's type; an image is `1 h w c`."""
    if kind.WhichOneof("Type") == "imageType":
        image = kind.imageType
        grey = image.colorSpace == image.ColorSpace.Value("GRAYSCALE")
        return (1, image.height, image.width, 1 if grey else 3)
    return tuple(kind.multiArrayType.shape)


def saved(path: str | os.PathLike[str]) -> Any:
    """The specification in a saved package: Core ML's protocol buffer `Model`."""
    with quietly():
        try:
            from coremltools.models.utils import load_spec
        except ImportError as error:
            raise ImportError(MISSING) from error
        return load_spec(os.fspath(path))


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
            # Strings of coremltools, when Python compiles them, the first time after an installation.
            warnings.filterwarnings("ignore", ".*invalid escape sequence")
            yield
    finally:
        logger.setLevel(level)
