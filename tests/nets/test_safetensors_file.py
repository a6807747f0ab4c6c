"""Bits come back, the layout is the published one, and a damaged file is named."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.safetensors_file import SafetensorsError, read_safetensors, write_safetensors

KINDS = [np.float64, np.float32, np.float16, jnp.bfloat16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


def file_of(header: dict, content: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: np.dtype(kind).name)
def test_there_and_back(tmp_path, kind):
    arrays = {
        "b/kernel": np.arange(6).reshape(3, 2).T.astype(kind),
        "a": np.asarray(1, kind),
        "c": np.zeros((0, 2), kind),
    }
    write_safetensors(tmp_path / "a.safetensors", arrays)
    back = read_safetensors(tmp_path / "a.safetensors")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)
    assert back["b/kernel"].flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_equal_arrays_give_equal_files(tmp_path):
    a, b = np.ones((2, 2), np.float32), np.zeros(3, np.float32)
    write_safetensors(tmp_path / "1", {"a": a, "b": b})
    write_safetensors(tmp_path / "2", {"b": b, "a": a})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_layout_written_by_hand(tmp_path):
    numbers = np.float32([[1, 2, 3], [4, 5, 6]])
    header = {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    (tmp_path / "x").write_bytes(file_of(header, numbers.tobytes()))
    np.testing.assert_array_equal(read_safetensors(tmp_path / "x")["w"], numbers)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no such thing", "not a safetensors file"),
        (file_of({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 8), "damaged"),
        (file_of({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"\0"), "of type F8_E4M3"),
        (file_of({}, b""), "holds no tensor"),
    ],
    ids=["foreign", "cut short", "type", "empty"],
)
def test_what_cannot_be_read_is_named(tmp_path, content, said):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(SafetensorsError, match=f"bad: .*{said}"):
        read_safetensors(tmp_path / "bad")


def test_missing_files_and_types_that_the_format_has_not(tmp_path):
    with pytest.raises(SafetensorsError, match="no such file"):
        read_safetensors(tmp_path / "nowhere")
    with pytest.raises(SafetensorsError, match="w is complex64"):
        write_safetensors(tmp_path / "x", {"w": np.zeros(2, np.complex64)})
    assert not list(tmp_path.iterdir())
