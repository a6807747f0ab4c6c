"""A TFLite file without what no runtime reads: the names of intermediate arrays, and the same bytes twice.

Names of inputs and outputs, signatures, metadata and the order of everything stay, and so does every answer, bit for
bit. Whoever looks for modules by name (`quantize.quantized` does) has to before.
"""

from typing import Any

import numpy as np
from jaxtyping import UInt8

MISSING = 'TFLite needs the extra "export": pip install "restore-jax[export]".'
IDENTIFIER = b"TFL3"
ALIGNED = 16  # bytes: what XNNPACK reads weights by
LARGEST = 2**31 - 1  # bytes: a flatbuffer ends there


def stripped(content: bytes) -> bytes:
    """The same file in fewer bytes; one of 2 GiB and more as it is. Takes a copy or two of it.

    Raises:
        ImportError: the extra is not installed.
    """
    try:
        from ai_edge_litert.schema_py_generated import Model, ModelT
    except ImportError as error:
        raise ImportError(MISSING) from error
    if len(content) > LARGEST:
        return content
    model: Any = ModelT.InitFromObj(Model.GetRootAs(content))
    place: dict[int, int] = {}  # of an old buffer among the new; the first is the empty one
    buffers = [Aligned(np.zeros(0, np.uint8))]

    def moved(number: int) -> int:
        if number not in place:
            data = data_of(model.buffers[number], content)
            place[number] = len(buffers) if data.size else 0
            if data.size:
                buffers.append(Aligned(data))
        return place[number]

    for graph in model.subgraphs:
        graph.debugMetadataIndex = -1
        named = {int(number) for ends in (graph.inputs, graph.outputs) for number in ends}
        for number, tensor in enumerate(graph.tensors):
            tensor.buffer = moved(tensor.buffer)
            if number not in named:
                tensor.name = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
        for operator in graph.operators:
            operator.debugMetadataIndex = -1
    for entry in model.metadata or ():
        entry.buffer = moved(entry.buffer)
    model.metadataBuffer = None  # what metadata was before it had names
    model.buffers = buffers
    builder = sharing(len(content))
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def data_of(buffer: Any, content: bytes) -> UInt8[np.ndarray, " n"]:
    """What a buffer holds, inside the flatbuffer or behind it."""
    if buffer.data is not None and len(buffer.data):
        return np.asarray(buffer.data, np.uint8)
    there = buffer.offset > 1  # 0 and 1 are said of buffers that are elsewhere
    return np.frombuffer(content, np.uint8, buffer.size, buffer.offset) if there else np.zeros(0, np.uint8)


class Aligned:
    """A buffer of the schema whose bytes begin where vector instructions want them."""

    def __init__(self, data: UInt8[np.ndarray, " n"]) -> None:
        self.data = data

    def Pack(self, builder: Any) -> int:
        """Writes it, the data before the table; where the table is."""
        from ai_edge_litert import schema_py_generated as schema

        data = builder.CreateNumpyVector(self.data, ALIGNED) if self.data.size else None
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def sharing(size: int) -> Any:
    """A builder of flatbuffers, of `size` bytes at first, that writes a vector once however often it is used."""
    import flatbuffers

    class Sharing(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(size)
            self._written: dict[tuple[str, int, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray, alignment: int = 1) -> int:
            key = (x.dtype.str, alignment, x.tobytes())
            if key not in self._written:
                if alignment > 1:
                    # The length goes right before the data: room is left so that the data is aligned.
                    self.Prep(alignment, x.nbytes)
                self._written[key] = super().CreateNumpyVector(x)
            return self._written[key]

    return Sharing()
