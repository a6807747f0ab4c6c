"""What ncnn deploys, read without ncnn: a `.param` file, the graph in text, and a `.bin` file, its weights in a row.

The text has a magic number, a line with the counts of layers and blobs, and a line a layer:

    type  name  n_inputs  n_outputs  inputs...  outputs...  key=value...

An array of values is written `-(23300 + key)=count,value,...`. The weights have no names in their file: they follow one
another in the layers' order, as many as each layer's values say, so that one layer misread would spoil all after it.
Only layers that are known are read, and the file must end where the last of them ends.

A layer's first weights come with a tag of 4 bytes: 0 for float32, `HALF` for float16 (padded to a multiple of 4 bytes).
What adds and scales (biases, slopes, statistics) is float32 without a tag.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import restore_jax.nets
from restore_jax.nets.torch_weights import Recognised, UnknownArchitecture

MAGIC = "7767517"
HALF = 0x01306B47
ARRAYS = -23300

# What these compute, their inputs and values say: they own no numbers.
WITHOUT_WEIGHTS = re.findall(
    r"\w+",
    """
    Input Split Concat Slice Crop BinaryOp UnaryOp Eltwise Swish Sigmoid TanH ReLU Clip HardSwish HardSigmoid Mish GELU
    ELU SELU AbsVal Exp Log Power Threshold Softmax PixelShuffle Reorg Interp Pooling Reshape Flatten Permute ExpandDims
    Squeeze Reduction Noop Dropout Cast MatMul ShuffleChannel
    """,
)


class NcnnFileError(ValueError):
    """A pair of files that cannot be read as ncnn's; the message names the file, the place and the reason."""


@dataclass(frozen=True)
class Layer:
    """A node of the graph: what it computes, of which blobs, into which, with which values by their number."""

    type: str
    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    values: Mapping[int, int | float | tuple[int | float, ...]] = field(default_factory=dict)

    def whole(self, key: int, default: int = 0) -> int:
        """The value `key`, which counts something.

        Raises:
            NcnnFileError: it is not a whole number from 0.
        """
        value = self.values.get(key, default)
        if not isinstance(value, int) or value < 0:
            raise NcnnFileError(f"{self.type} {self.name}: value {key} counts, and is {value!r}.")
        return value


@dataclass(frozen=True)
class NcnnGraph:
    """The layers in their order, and every weight by its name, "<layer>.weight" or "<layer>.bias"."""

    layers: tuple[Layer, ...]
    arrays: Mapping[str, np.ndarray]

    def of_type(self, *types: str) -> tuple[Layer, ...]:
        """The layers of these types, in order."""
        return tuple(layer for layer in self.layers if layer.type in types)


def read_ncnn_file(param: str | Path, weights: str | Path | None = None) -> NcnnGraph:
    """The graph of the `.param` file and the arrays of the `.bin` file, `param` with its ending replaced unless given.

    Axes are ncnn's: a convolution's weight is `(out, in / groups, k, k)`, of a transposed one too, a linear layer's
    `(out, in)`, MemoryData's `(c, h, w)` without the axes that it does not have. Bits are kept: half stays half.

    Raises:
        NcnnFileError: missing, damaged, cut short, too long, a layer that is not known, or weights that are quantised.
    """
    param = Path(param)
    weights = param.with_suffix(".bin") if weights is None else Path(weights)
    for path in (param, weights):
        if not path.is_file():
            raise NcnnFileError(f"{path}: no such file.")
    try:
        layers = _graph(param.read_bytes())
    except NcnnFileError as error:
        raise NcnnFileError(f"{param}: {error}") from None
    try:
        return NcnnGraph(layers, _arrays(layers, weights.read_bytes()))
    except NcnnFileError as error:
        raise NcnnFileError(f"{weights}: {error}") from None


def recognise_ncnn(graph: NcnnGraph) -> Recognised:
    """The net here that the graph is, and its parameters: by the functions `NCNN` of the nets' files, as `TORCH` is.

    Raises:
        UnknownArchitecture: no net here has this graph; it names those that were tried, and where each gave up.
    """
    tried = []
    for info in pkgutil.iter_modules(restore_jax.nets.__path__, "restore_jax.nets."):
        for convert in getattr(importlib.import_module(info.name), "NCNN", ()):
            try:
                return Recognised(*convert(graph))
            except LookupError as error:
                tried.append(f"{info.name.rpartition('.')[2]}: {error.args[0]}")
    raise UnknownArchitecture(
        f"no net here has this graph of {len(graph.layers)} layers. Tried:\n  " + "\n  ".join(tried or ["none"])
    )


# ---------------------------------------------------------------------------------------------
# The graph
# ---------------------------------------------------------------------------------------------


def _graph(content: bytes) -> tuple[Layer, ...]:
    try:
        lines = [line for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise NcnnFileError(
            "not a text; ncnn's binary .param.bin is not read, the text that it came from is."
        ) from None
    if not lines or lines[0].strip() != MAGIC:
        raise NcnnFileError(f"does not begin with {MAGIC}, as ncnn's graphs do.")
    counts = lines[1].split() if len(lines) > 1 else []
    if len(counts) != 2 or not all(count.isdecimal() for count in counts):
        raise NcnnFileError("line 2 should count the layers and the blobs.")
    n_layers, n_blobs = map(int, counts)
    if len(lines) - 2 != n_layers:
        raise NcnnFileError(f"says {n_layers} layers and has {len(lines) - 2}: cut short, or put together.")
    layers, names, blobs = [], set(), set()
    for number, line in enumerate(lines[2:], 3):
        try:
            layer = _layer(line)
        except NcnnFileError as error:
            raise NcnnFileError(f"line {number}: {error}") from None
        if layer.name in names:
            raise NcnnFileError(f"line {number}: a second layer {layer.name}.")
        for blob in layer.inputs:
            if blob not in blobs:
                raise NcnnFileError(f"line {number}: {layer.name} reads {blob}, which no layer before it makes.")
        for blob in layer.outputs:
            if blob in blobs:
                raise NcnnFileError(f"line {number}: {layer.name} makes {blob}, which has been made.")
            blobs.add(blob)
        names.add(layer.name)
        layers.append(layer)
    if len(blobs) != n_blobs:
        raise NcnnFileError(f"says {n_blobs} blobs and makes {len(blobs)}.")
    return tuple(layers)


def _layer(line: str) -> Layer:
    words = line.split()
    if len(words) < 4 or not (words[2].isdecimal() and words[3].isdecimal()):
        raise NcnnFileError(f"a layer is `type name inputs outputs ...`, not {line[:60]!r}.")
    n_in, n_out = int(words[2]), int(words[3])
    blobs, pairs = words[4 : 4 + n_in + n_out], words[4 + n_in + n_out :]
    if len(blobs) != n_in + n_out or any("=" in blob for blob in blobs[-1:]):
        raise NcnnFileError(f"{words[1]} says {n_in} inputs and {n_out} outputs and does not name them.")
    return Layer(words[0], words[1], tuple(blobs[:n_in]), tuple(blobs[n_in:]), dict(map(_value, pairs)))


def _value(pair: str) -> tuple[int, int | float | tuple[int | float, ...]]:
    key, _, text = pair.partition("=")
    try:
        if int(key) > ARRAYS:
            return int(key), _number(text)
        count, *values = text.split(",")
        if int(count) != len(values):
            raise NcnnFileError(f"{pair[:40]!r} says {count} values and has {len(values)}.")
        return ARRAYS - int(key), tuple(map(_number, values))
    except NcnnFileError:
        raise
    except ValueError:
        raise NcnnFileError(f"{pair[:40]!r} is no `key=value` of numbers.") from None


def _number(text: str) -> int | float:
    return float(text) if set(text) & set(".eEn") else int(text)


# ---------------------------------------------------------------------------------------------
# The weights
# ---------------------------------------------------------------------------------------------


class _Weights:
    """The bytes of the weights, taken from the front."""

    def __init__(self, content: bytes):
        self.content, self.at = content, 0

    def take(self, n: int) -> bytes:
        if n > len(self.content) - self.at:
            raise NcnnFileError(f"cut short: {n} bytes at {self.at} of {len(self.content)}.")
        self.at += n
        return self.content[self.at - n : self.at]

    def plain(self, *shape: int) -> np.ndarray:
        """Float32 without a tag."""
        return np.frombuffer(self.take(4 * _size(shape)), "<f4").reshape(shape).copy()

    def tagged(self, *shape: int) -> np.ndarray:
        tag, n = int.from_bytes(self.take(4), "little"), _size(shape)
        if tag == 0:
            return self.plain(*shape)
        if tag != HALF:
            raise NcnnFileError(
                f"tag {tag:#010x} at byte {self.at - 4} is neither float32 (0) nor float16 ({HALF:#010x}): quantised, "
                "or out of step with the graph. Quantised weights are not read; take the files they were made from."
            )
        return np.frombuffer(self.take(2 * n + 2 * n % 4), "<f2", n).reshape(shape).copy()


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for side in shape:  # in Python's integers, which do not overflow
        n *= side
    return n


Named = Iterator[tuple[str, np.ndarray]]


def _convolution(layer: Layer, w: _Weights) -> Named:
    out, k = layer.whole(0), layer.whole(1)
    taps, size = k * layer.whole(11, k), layer.whole(6)
    if layer.whole(8) or layer.whole(19) or layer.whole(28):
        raise NcnnFileError("its weights are 8 bit integers or come from the graph, and are not read.")
    if not out or not taps or not size or size % (out * taps):
        raise NcnnFileError(
            f"{size} weights are no whole number of {layer.whole(11, k)}x{k} kernels for {out} outputs."
        )
    yield "weight", w.tagged(out, size // (out * taps), layer.whole(11, k), k)
    if layer.whole(5):
        yield "bias", w.plain(out)


def _linear(layer: Layer, w: _Weights) -> Named:
    out, size = layer.whole(0), layer.whole(2)
    if layer.whole(8) or not out or not size or size % out:
        raise NcnnFileError(f"{size} weights for {out} outputs, or 8 bit integers.")
    yield "weight", w.tagged(out, size // out)
    if layer.whole(1):
        yield "bias", w.plain(out)


def _slopes(layer: Layer, w: _Weights) -> Named:
    yield "weight", w.plain(layer.whole(0))


def _scale(layer: Layer, w: _Weights) -> Named:
    if layer.values.get(0) == ARRAYS // 100:  # -233: the factors are a blob
        return
    yield "weight", w.plain(layer.whole(0))
    if layer.whole(1):
        yield "bias", w.plain(layer.whole(0))


def _batch_norm(layer: Layer, w: _Weights) -> Named:
    for name in ("weight", "running_mean", "running_var", "bias"):
        yield name, w.plain(layer.whole(0))


def _norm(size: int, affine: int) -> Callable[[Layer, _Weights], Named]:
    def read(layer: Layer, w: _Weights) -> Named:
        for name in ("weight", "bias") if layer.whole(affine, 1) else ():
            yield name, w.plain(layer.whole(size))

    return read


def _memory(layer: Layer, w: _Weights) -> Named:
    shape = tuple(n for key in (2, 11, 1, 0) if (n := layer.whole(key)))
    yield "weight", w.plain(*shape) if layer.whole(21, 1) else w.tagged(*shape)


WITH_WEIGHTS: dict[str, Callable[[Layer, _Weights], Named]] = {
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Deconvolution": _convolution,
    "DeconvolutionDepthWise": _convolution,
    "InnerProduct": _linear,
    "PReLU": _slopes,
    "Scale": _scale,
    "BatchNorm": _batch_norm,
    "InstanceNorm": _norm(size=0, affine=2),
    "LayerNorm": _norm(size=0, affine=2),
    "GroupNorm": _norm(size=1, affine=3),
    "MemoryData": _memory,
}


def _arrays(layers: tuple[Layer, ...], content: bytes) -> dict[str, np.ndarray]:
    w, arrays = _Weights(content), {}
    for layer in layers:
        if layer.type in WITHOUT_WEIGHTS:
            continue
        if layer.type not in WITH_WEIGHTS:
            raise NcnnFileError(
                f"{layer.name} is a {layer.type}, which is not known here: where its weights end, nobody can tell. "
                f"Known with weights: {', '.join(sorted(WITH_WEIGHTS))}."
            )
        try:
            arrays |= {f"{layer.name}.{name}": array for name, array in WITH_WEIGHTS[layer.type](layer, w)}
        except NcnnFileError as error:
            raise NcnnFileError(f"{layer.type} {layer.name}: {error}") from None
    if w.at != len(content):
        raise NcnnFileError(f"{len(content) - w.at} bytes are left after the last layer: of another graph.")
    return arrays
