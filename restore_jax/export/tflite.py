"""TFLite: a graph as one `.tflite` file for LiteRT, on Android and wherever XNNPACK runs.

JAX -> StableHLO -> LiteRT's own converter, without TensorFlow. The file holds TFLite's built-in operators
only, which every interpreter has: `to_tflite` reads what it wrote to assert it.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from restore_jax.export.graph import ExportError, Graph, explained, whole

MISSING = 'TFLite needs the extra "export": pip install "restore-jax[export]".'
SIGNATURE = "serving_default"
POOLED = "A Dense on what was pooled with keepdims=True: pool to `b c`, then the Dense, then `[:, None, None]`."


def to_tflite(graph: Graph, path: str | os.PathLike[str]) -> Path:
    """Write `graph` to `path` in float32, under its input and output names; whole or not at all.

    `graph.metadata` is stored inside, each entry under its name. Takes seconds for a million parameters, and
    4 bytes for each. The converter's Python entry is not a documented one, hence its exact pin.

    Raises:
        ImportError: the extra is not installed.
        ExportError: an operation that TFLite cannot run; the message says what to write instead.
    """
    try:
        from litert_converter.mlir import ir, passmanager
        from litert_converter.mlir._mlir_libs import converter_api_ext as litert
        from litert_converter.mlir.dialects import stablehlo
    except ImportError as error:
        raise ImportError(MISSING) from error

    # JAX and the converter each come with a StableHLO; its portable form is what one reads of the other's.
    portable = graph.lower().mlir_module_serialized
    context = ir.Context()
    litert.prepare_mlir_context(context)
    with context:
        try:
            module = stablehlo.deserialize_portable_artifact(context, portable)
            litert.set_signature(module.operation, SIGNATURE, list(graph.inputs), [graph.output])
            entries = {name: ir.StringAttr.get(text) for name, text in graph.metadata.items()}
            module.operation.attributes["tfl.metadata"] = ir.DictAttr.get(entries)
            litert.run_convert_to_tfl_passes(module, passmanager.PassManager(), litert.ConvertToTFLConfig())
            content = litert.export_flatbuffer_to_bytes(module.operation)
        except (ValueError, ir.MLIRError) as error:
            hints = [POOLED] if "'tfl.batch_matmul' op found invalid output rank" in str(error) else []
            raise explained(graph, "TFLite", error, *hints) from error

    if foreign := {name for name in operators(content) if name.startswith(("CUSTOM", "STABLEHLO"))}:
        raise ExportError(f"TFLite has no built-in {', '.join(sorted(foreign))}: compose it of others.")
    with whole(path) as fresh:
        fresh.write_bytes(content)
    return Path(path)


def ops(path: str | os.PathLike[str]) -> list[str]:
    """Every operator in a `.tflite` file, in the order of execution: "CONV_2D", "ADD" and so on.

    One that is not built in (TensorFlow's own, "Flex", for one) is "CUSTOM:name".

    Raises:
        ImportError: the extra is not installed.
    """
    return operators(Path(path).read_bytes())


def metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts stored in a `.tflite` file: those of `Graph.metadata`, and the converter's own.

    Raises:
        ImportError: the extra is not installed.
    """
    model = flatbuffer(Path(path).read_bytes())
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    texts = [model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode() for entry in entries]
    return {entry.Name().decode(): text.rstrip("\0") for entry, text in zip(entries, texts)}


def operators(content: bytes) -> list[str]:
    """`ops` of a file's content."""
    model = flatbuffer(content)
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    builtin = {code: name for name, code in vars(BuiltinOperator).items() if not name.startswith("_")}
    names = []
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        # The first schema gave a code one byte, and the small ones are still there; the larger field wins.
        name = builtin[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        names.append(f"CUSTOM:{code.CustomCode().decode()}" if name == "CUSTOM" else name)
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    return [names[part.Operators(i).OpcodeIndex()] for part in graphs for i in range(part.OperatorsLength())]


def flatbuffer(content: bytes) -> Any:
    """A file's content as the table `Model` of TFLite's schema."""
    try:
        from ai_edge_litert.schema_py_generated import Model
    except ImportError as error:
        raise ImportError(MISSING) from error
    return Model.GetRootAs(content)


class TFLiteModel:
    """A `.tflite` file as a function of named arrays, in LiteRT's interpreter (XNNPACK) on `threads` threads.

    `x_hat = model(y=y, noise=noise)`. `inputs` and `outputs` are the shapes by name. Not thread-safe: one
    interpreter holds one set of activations.

    Raises:
        ImportError: the extra is not installed.
        ValueError: (when called) names or shapes that are not those of `inputs`.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 2) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(MISSING) from error
        self._run = Interpreter(os.fspath(path), num_threads=threads).get_signature_runner(SIGNATURE)
        self.inputs = {name: tuple(d["shape"].tolist()) for name, d in self._run.get_input_details().items()}
        self.outputs = {name: tuple(d["shape"].tolist()) for name, d in self._run.get_output_details().items()}

    def __call__(self, **arrays: Any) -> np.ndarray:
        """The output for arrays of the names and shapes of `inputs`, taken as float32."""
        given = {name: np.shape(array) for name, array in arrays.items()}
        if given != self.inputs:
            raise ValueError(f"The file takes {self.inputs} and was given {given}.")
        (output,) = self._run(**{name: np.asarray(a, np.float32) for name, a in arrays.items()}).values()
        return output
