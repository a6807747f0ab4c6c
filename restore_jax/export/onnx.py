"""ONNX: a graph as one `.onnx` file, for onnxruntime and what else reads opset 23.

JAX -> jax2onnx -> file. Its extra is one of its own: it wants an older Orbax than the rest of the library runs with, so
that it belongs in an environment of its own. Running a file needs onnxruntime only, which goes with everything.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jax.extend.core import jaxpr_as_fun

from restore_jax.export.graph import Graph, explained, whole

MISSING = (
    'ONNX needs the extra "onnx", in an environment of its own, for it wants an older Orbax: '
    'pip install "restore-jax[onnx]".'
)
MISSING_RUNTIME = "Running ONNX files needs onnxruntime: pip install onnxruntime."


def to_onnx(graph: Graph, path: str | os.PathLike[str]) -> Path:
    """Write `graph` to `path` in float32, under its input and output names; whole or not at all.

    `graph.metadata` goes to the model's properties, "short_description" to its text too. 4 bytes a parameter.

    Raises:
        ImportError: the extra is not installed.
        ExportError: an operation that ONNX cannot hold; the message says what to write instead.
    """
    try:
        import jax2onnx
        import onnx
    except ImportError as error:
        raise ImportError(MISSING) from error

    function = jaxpr_as_fun(graph.jaxpr())
    try:
        model: Any = jax2onnx.to_onnx(
            lambda *arrays: function(*arrays)[0],
            list(graph.inputs.values()),
            model_name="restorer",
            input_names=list(graph.inputs),
            output_names=[graph.output],
        )
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise explained(graph, "ONNX", error) from error
    pool_in_two_axes(model)
    model.producer_name, model.doc_string = "restore_jax", graph.metadata.get("short_description", "")
    onnx.helper.set_model_props(model, dict(graph.metadata))
    onnx.checker.check_model(model)
    with whole(path) as fresh:
        fresh.write_bytes(model.SerializeToString())
    return Path(path)


def pool_in_two_axes(model: Any) -> None:
    """Give each MaxPool of `model` the two axes of the picture.

    jax2onnx writes a pool over all four axes of `b h w c`, between axes of 1 put in front: that is the same number, and
    onnxruntime has no pool of more than three.
    """
    from onnx import helper

    nodes = model.graph.node
    makers = {name: node for node in nodes for name in node.output}
    for pool in [node for node in nodes if node.op_type == "MaxPool"]:
        of = {one.name: list(one.ints) for one in pool.attribute if one.ints}
        if len(of["kernel_shape"]) != 4 or of["kernel_shape"][::3] != [1, 1]:
            continue
        given = pool.input[0]
        while given in makers and makers[given].op_type == "Unsqueeze":
            given = makers[given].input[0]
        (after,) = [node for node in nodes if pool.output[0] in node.input]  # takes the axes of 1 away again
        first, pooled, (found,) = f"{pool.name}_channels_first", f"{pool.name}_pooled", after.output
        pads = of.get("pads", [0] * 8)
        new = (
            helper.make_node("Transpose", [given], [first], perm=[0, 3, 1, 2], name=first),
            helper.make_node(
                *("MaxPool", [first], [pooled]),
                name=pooled,
                kernel_shape=of["kernel_shape"][1:3],
                strides=of["strides"][1:3],
                pads=[*pads[1:3], *pads[5:7]],
            ),
            helper.make_node("Transpose", [pooled], [found], perm=[0, 2, 3, 1], name=f"{pool.name}_channels_last"),
        )
        at = list(nodes).index(pool)
        for node in (pool, after):
            nodes.remove(node)
        for node in reversed(new):
            nodes.insert(at, node)
    wanted = {name for node in nodes for name in node.input} | {out.name for out in model.graph.output}
    for node in [node for node in nodes if node.op_type == "Unsqueeze"][::-1]:
        if not wanted & set(node.output):
            nodes.remove(node)
            wanted = {name for node in nodes for name in node.input} | {out.name for out in model.graph.output}
    kept = [info for info in model.graph.value_info if info.name in {name for node in nodes for name in node.output}]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)


class OnnxModel:
    """An `.onnx` file as a function of named arrays, in onnxruntime on `threads` threads of the CPU.

    `inputs` and `outputs` are the shapes by name, `metadata` the texts in the file. With `keep`, `values` answers every
    intermediate array; that needs the package onnx too.

    Raises:
        ImportError: onnxruntime, or for `keep` onnx, is not installed.
        ValueError: (when called) names or shapes that are not those of `inputs`.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 2, keep: bool = False) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(MISSING_RUNTIME) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        content = Path(path).read_bytes()
        if keep:
            content = shown(content)
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self._types = {one.name: TYPES[one.type] for one in self._session.get_inputs()}
        self.inputs = {one.name: tuple(one.shape) for one in self._session.get_inputs()}
        first = self._session.get_outputs()[0]
        self.outputs = {first.name: tuple(first.shape)}

    def __call__(self, **arrays: Any) -> np.ndarray:
        """The output for arrays of the names and shapes of `inputs`, taken in the types of the file."""
        return self._run(arrays, list(self.outputs))[0]

    def values(self, **arrays: Any) -> list[np.ndarray]:
        """Every array that the file computes on its way, for a model made with `keep`."""
        return self._run(arrays, None)

    def _run(self, arrays: dict[str, Any], names: list[str] | None) -> list[np.ndarray]:
        given = {name: np.shape(array) for name, array in arrays.items()}
        if given != self.inputs:
            raise ValueError(f"The file takes {self.inputs} and was given {given}.")
        feed = {name: np.asarray(array, self._types[name]) for name, array in arrays.items()}
        return [np.asarray(value) for value in self._session.run(names, feed)]


TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


def shown(content: bytes) -> bytes:
    """The same model with every intermediate array among its outputs."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(MISSING) from error
    model = onnx.load_from_string(content)
    outputs = {one.name for one in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name and name not in outputs]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return model.SerializeToString()
