"""TFLite: a graph as one `.tflite` file for LiteRT, on Android and wherever XNNPACK runs.

JAX -> StableHLO -> LiteRT's own converter, without TensorFlow. The file holds TFLite's built-in operators
only, which every interpreter has: `to_tflite` reads what it wrote to assert it.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from restore_jax.export.graph import ExportError, Graph, explained, whole
from restore_jax.export.quantize import PRODUCTS, quantized
from restore_jax.export.strip import stripped
from restore_jax.nets.attention import named

MISSING = 'TFLite needs the extra "export": pip install "restore-jax[export]".'
SIGNATURE = "serving_default"
LOST = 1e-3  # of a kernel, where it keeps 32 bits
POOLED = "A Dense on what was pooled with keepdims=True: pool to `b c`, then the Dense, then `[:, None, None]`."


def to_tflite(
    graph: Graph | Mapping[str, Graph],
    path: str | os.PathLike[str],
    precision: str = "fp32",
    pictures: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    halves: tuple[str, ...] = (),
) -> Path:
    """Write `graph` to `path` under its input and output names; whole or not at all.

    Several graphs, by name, become the signatures of one file, which holds the weights they share once. Other
    precisions, `pictures` and `halves` are those of `quantize.quantized`. The metadata of the first graph is stored
    inside, each entry under its name. Takes seconds for a million parameters, and 4 bytes for each in float32. The
    converter's Python entry is not a documented one, hence its exact pin.

    Raises:
        ImportError: the extra is not installed.
        ValueError: no graph, or what `quantized` refuses.
        ExportError: an operation that TFLite cannot run; the message says what to write instead.
    """
    graphs = {SIGNATURE: graph} if isinstance(graph, Graph) else dict(graph)
    if not graphs:
        raise ValueError("to_tflite: graph must be one or more graphs by name; none was given.")
    content = converted({name: fused(one) for name, one in graphs.items()})
    if precision != "fp32":
        exact = beyond_float16(content) if precision == "fp16" else ()
        content = quantized(content, precision, pictures, halves, exact)
    if foreign := {name for name in operators(content) if name.startswith(("CUSTOM", "STABLEHLO"))}:
        raise ExportError(f"TFLite has no built-in {', '.join(sorted(foreign))}: compose it of others.")
    with whole(path) as fresh:
        fresh.write_bytes(stripped(content))
    return Path(path)


def fused(graph: Graph) -> Graph:
    """The same graph, its operations named as TFLite names them: `nets.attention.named`."""

    def function(*arrays: Any) -> Any:
        with named():
            return graph.function(*arrays)

    return dataclasses.replace(graph, function=function)


def converted(graphs: Mapping[str, Graph]) -> bytes:
    """A TFLite file's content in float32, a signature a graph."""
    try:
        from litert_converter.mlir import ir, passmanager
        from litert_converter.mlir._mlir_libs import converter_api_ext as litert
        from litert_converter.mlir.dialects import stablehlo
    except ImportError as error:
        raise ImportError(MISSING) from error

    # JAX and the converter each come with a StableHLO; its portable form is what one reads of the other's.
    portable = {name: graph.lower().mlir_module_serialized for name, graph in graphs.items()}
    first = next(iter(graphs.values()))
    context = ir.Context()
    litert.prepare_mlir_context(context)
    with context:
        try:
            modules = []
            for name, graph in graphs.items():
                module = stablehlo.deserialize_portable_artifact(context, portable[name])
                main = next(op for op in module.body if ir.StringAttr(op.attributes["sym_name"]).value == "main")
                if len(graphs) > 1:  # merged modules have one name space
                    main.attributes["sym_name"] = ir.StringAttr.get(name)
                litert.set_signature(main.operation, name, list(graph.inputs), [graph.output])
                modules.append(module)
            module = litert.merge_modules(modules) if len(modules) > 1 else modules[0]
            entries = {name: ir.StringAttr.get(text) for name, text in first.metadata.items()}
            module.operation.attributes["tfl.metadata"] = ir.DictAttr.get(entries, context)
            litert.run_convert_to_tfl_passes(module, passmanager.PassManager(), litert.ConvertToTFLConfig())
            return litert.export_flatbuffer_to_bytes(module.operation)
        except (ValueError, ir.MLIRError) as error:
            hints = [POOLED] if "'tfl.batch_matmul' op found invalid output rank" in str(error) else []
            raise explained(first, "TFLite", error, *hints) from error


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


def beyond_float16(content: bytes) -> tuple[str, ...]:
    """The convolutions and products, by what they answer, whose weights float16 cannot hold to its own precision.

    Rounding to 11 bits changes weights by 2.8e-4 of their size (root mean squares), a quarter of what counts here.
    Below 6e-5 float16 has fewer bits: to 1e-7 it knows one.
    """
    model, names = flatbuffer(content), iter(operators(content))
    found = []
    for part in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for op in (part.Operators(index) for index in range(part.OperatorsLength())):
            if next(names) not in PRODUCTS or part.Tensors(op.Inputs(1)).Type() != 0:  # float32
                continue
            numbers = model.Buffers(part.Tensors(op.Inputs(1)).Buffer()).DataAsNumpy()
            if isinstance(numbers, int):  # none: the weights are computed
                continue
            weights = np.frombuffer(numbers.tobytes(), np.float32)
            with np.errstate(over="ignore"):
                lost = np.linalg.norm(weights.astype(np.float16).astype(np.float32) - weights)
            if not lost <= LOST * np.linalg.norm(weights):
                found.append(part.Tensors(op.Outputs(0)).Name().decode())
    return tuple(found)


def flatbuffer(content: bytes) -> Any:
    """A file's content as the table `Model` of TFLite's schema."""
    try:
        from ai_edge_litert.schema_py_generated import Model
    except ImportError as error:
        raise ImportError(MISSING) from error
    return Model.GetRootAs(content)


class TFLiteModel:
    """A `.tflite` file, or its content, as a function of named arrays, in LiteRT's interpreter on `threads` threads.

    `x_hat = model(y=y, noise=noise)`. `signatures` are the names of the graphs in the file, of which `signature` runs,
    or the first; `inputs` and `outputs` are its shapes by name. Not thread-safe: one interpreter holds one set of
    activations. XNNPACK computes; with `keep` it does not, and `values` answers every intermediate array.

    Raises:
        ImportError: the extra is not installed.
        ValueError: the file has no such signature; (when called) names or shapes that are not those of `inputs`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes,
        threads: int = 2,
        signature: str | None = None,
        keep: bool = False,
    ) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise ImportError(MISSING) from error
        plain = {
            "experimental_preserve_all_tensors": True,
            "experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        }
        file = {"model_content": path} if isinstance(path, bytes) else {"model_path": os.fspath(path)}
        self._interpreter = Interpreter(**file, num_threads=threads, **(plain if keep else {}))
        self.signatures = tuple(self._interpreter.get_signature_list())
        if signature is not None and signature not in self.signatures:
            raise ValueError(f"TFLiteModel.signature must be one of {self.signatures}, not {signature!r}.")
        self._run = self._interpreter.get_signature_runner(signature or self.signatures[0])
        details = self._run.get_input_details()
        self._types = {name: one["dtype"] for name, one in details.items()}
        self.inputs = {name: tuple(one["shape"].tolist()) for name, one in details.items()}
        self.outputs = {name: tuple(d["shape"].tolist()) for name, d in self._run.get_output_details().items()}

    def __call__(self, **arrays: Any) -> np.ndarray:
        """The output for arrays of the names and shapes of `inputs`, taken in the types of the file."""
        given = {name: np.shape(array) for name, array in arrays.items()}
        if given != self.inputs:
            raise ValueError(f"The file takes {self.inputs} and was given {given}.")
        (output,) = self._run(**{name: np.asarray(a, self._types[name]) for name, a in arrays.items()}).values()
        return output

    def values(self, **arrays: Any) -> list[np.ndarray]:
        """Every array that the file computes on its way, for a model made with `keep`."""
        self(**arrays)
        subgraph = self._run._subgraph_index
        found = []
        for detail in self._interpreter.get_tensor_details(subgraph):
            try:
                found.append(np.asarray(self._interpreter.get_tensor(detail["index"], subgraph)))
            except ValueError:  # a scratch buffer of some kernel
                continue
        return found
