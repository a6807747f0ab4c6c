"""What a TFLite file costs whoever runs it: products, and the memory of its activations.

    found = cost("net.tflite")
    found.macs / (256 * 256)        a pixel's products
    found.peak_bytes                what is alive at once, at the worst moment

Both are read from the file, not measured: a runtime may add copies of its own, and need no less.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_jax.export.tflite import flatbuffer, operators

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Cost:
    """Of one run of a graph.

    `macs` are the multiplications that are added up: of convolutions and products of matrices. `peak_bytes` is the
    largest sum of activations that are needed at one time, when each is freed after its last use.
    """

    macs: int
    peak_bytes: int


def cost(path: str | os.PathLike[str], signature: int = 0) -> Cost:
    """The cost of the graph number `signature` of a file.

    A number of an answer takes k_h k_w c_in products in a convolution, k_h k_w in a depthwise one, and as many as the
    contracted axis is long in a product of matrices; in a convolution that enlarges, a number that is read takes
    k_h k_w c_out.

    Raises:
        ImportError: the extra is not installed.
    """
    content = Path(path).read_bytes()
    model = flatbuffer(content)
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    names = operators(content)[sum(one.OperatorsLength() for one in graphs[:signature]) :]
    graph = graphs[signature]
    ops = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    return Cost(sum(macs(graph, op, name) for op, name in zip(ops, names)), peak_bytes(model, graph, ops))


def macs(graph: Any, op: Any, name: str) -> int:
    """The products of one operator, 0 for those that have none."""
    shapes = [shape(graph, int(index)) for index in op.InputsAsNumpy()]
    (answer, *_) = (math.prod(shape(graph, int(index))) for index in op.OutputsAsNumpy())
    if name in LAYERS:
        high, *rest = shapes[1]  # o h w c, 1 h w c, o c
        return answer * math.prod(rest if name != "DEPTHWISE_CONV_2D" else (high, *rest[:-1]))
    if name == "TRANSPOSE_CONV":  # the answer's shape, o h w c, b h w c
        return math.prod(shapes[2]) * math.prod(shapes[1][:3])
    if name == "BATCH_MATMUL":
        transposed = matmul_options(op).AdjX()
        return answer * shapes[0][-2 if transposed else -1]
    return 0


def matmul_options(op: Any) -> Any:
    """The options of a product of matrices."""
    from ai_edge_litert.schema_py_generated import BatchMatMulOptions

    table, options = op.BuiltinOptions(), BatchMatMulOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def peak_bytes(model: Any, graph: Any, ops: list[Any]) -> int:
    """The largest sum of bytes of activations that are alive while an operator runs."""
    from ai_edge_litert.schema_py_generated import TensorType

    widths = {"FLOAT32": 4, "FLOAT16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "INT32": 4, "INT64": 8}
    width = {code: widths[name] for name, code in vars(TensorType).items() if name in widths}
    born = {int(index): 0 for index in graph.InputsAsNumpy()}
    last = {int(index): len(ops) for index in graph.OutputsAsNumpy()}
    for time, op in enumerate(ops):
        for index in op.OutputsAsNumpy():
            born.setdefault(int(index), time)
            last.setdefault(int(index), time)
        for index in op.InputsAsNumpy():
            last[int(index)] = max(time, last.get(int(index), 0))
    change = [0] * (len(ops) + 2)
    for index, time in born.items():
        tensor = graph.Tensors(index)
        size = math.prod(shape(graph, index)) * width[tensor.Type()]
        change[time] += size
        change[last.get(index, time) + 1] -= size
    alive = peak = 0
    for one in change:
        alive += one
        peak = max(peak, alive)
    return peak


def shape(graph: Any, index: int) -> tuple[int, ...]:
    """Of a tensor of a graph; of none (-1) too."""
    if index < 0 or graph.Tensors(index).ShapeIsNone():
        return ()
    return tuple(int(side) for side in graph.Tensors(index).ShapeAsNumpy())
