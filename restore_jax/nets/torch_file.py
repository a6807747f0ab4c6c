"""What `torch.save` wrote, read without PyTorch and without running anything that the file asks for.

A PyTorch file is a pickle, and a pickle is a program: it may name any function and call it. This reader knows seven
kinds of names (tensors, parameters, their storages, ordered dictionaries, sizes), each bound to an object of ours that
holds numbers and nothing else; a file that asks for any other is refused, with the name that it asked for.

Two layouts exist. Since PyTorch 1.6 a file is a zip archive: `data.pkl`, and beside it `data/<key>`, the bytes of each
storage. Before, it was five pickles in a row (magic, protocol, machine, tensors, keys) with the storages behind them.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DEEPEST = 20  # dictionaries inside dictionaries; a training checkpoint has four

DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class TorchFileError(ValueError):
    """A file that cannot be read as PyTorch's weights; the message names the file and says why."""


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of the file by its name, as an array of its own; numbers come as arrays without axes.

    Dictionaries and lists inside dictionaries give dotted names: `{"params": {"conv.weight": ...}}` has
    `params.conv.weight`. Strings and None are left out. Bits are kept: half stays half, bfloat16 is `ml_dtypes`'.
    Layout is not: a tensor with strides (channels last, a transpose) becomes an array in C order with equal elements.
    Takes memory for the storages and for the arrays, twice the file.

    Raises:
        TorchFileError: missing, damaged, of another format, from a big-endian machine, or a pickle that asks for
            anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise TorchFileError(f"{path}: no such file.")
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        try:
            if start == b"PK\x03\x04":
                root, storages = _read_zip(file)
            elif start[:1] == b"\x80":
                root, storages = _read_legacy(file)
            else:
                raise TorchFileError(f"neither a zip archive nor a pickle; it begins with {start!r}.")
            arrays = {name: _array(leaf, storages) for name, leaf in _leaves(root, "")}
        except TorchFileError as error:
            raise TorchFileError(f"{path}: {error}") from None
        except Exception as error:  # a damaged pickle can fail in any way at all
            raise TorchFileError(
                f"{path}: damaged, or not a PyTorch file ({type(error).__name__}: {error})."
            ) from error
    if not arrays:
        raise TorchFileError(f"{path}: holds no named tensor; save `net.state_dict()`.")
    return arrays


# ---------------------------------------------------------------------------------------------
# The pickle
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    numel: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Dict(dict):
    """Stands for OrderedDict; the attributes that PyTorch hangs on it (`_metadata`) are let go."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Name:
    """What a name in a pickle is bound to. Not a class and without attributes, so that no opcode can alter it."""

    __slots__ = ("call", "dtype")

    def __init__(self, call: Callable[..., Any], dtype: np.dtype | None = None):
        self.call, self.dtype = call, dtype

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)

    def __setstate__(self, state: Any) -> None:
        raise TorchFileError("a pickle that alters what it is read with; refused.")


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> _Tensor:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise TorchFileError("a tensor whose storage, shape or strides are none.")
    if len(shape) != len(stride):
        raise TorchFileError(f"a tensor of {len(shape)} axes with {len(stride)} strides.")
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(tensor: Any, *rest: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise TorchFileError("a parameter without a tensor.")
    return tensor


def _never(*args: Any) -> Any:
    raise TorchFileError("a storage that is called; refused.")


NAMES: dict[tuple[str, str], _Name] = {
    ("collections", "OrderedDict"): _Name(_Dict),
    ("torch", "Size"): _Name(tuple),
    ("torch._utils", "_rebuild_tensor_v2"): _Name(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Name(_rebuild_parameter),
    **{("torch", name): _Name(_never, dtype) for name, dtype in DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> _Name:
        if (module, name) not in NAMES:
            raise TorchFileError(
                f"its pickle asks for {module}.{name}, and a pickle may run whatever it asks for. Only tensors are "
                "read: where you trust the file, load it in PyTorch and save `net.state_dict()` alone."
            )
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, type_, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(type_, _Name) or type_.dtype is None:
            raise TorchFileError(f"refers to a {kind!r} of a type that is not known.")
        if view and view[0] is not None:
            raise TorchFileError("has views of storages, as PyTorch before 0.4 wrote; save it again with a newer one.")
        if type(numel) is not int or numel < 0:
            raise TorchFileError(f"a storage of {numel!r} numbers.")
        known = self.storages.setdefault(str(key), _Storage(str(key), type_.dtype, numel))
        if known != _Storage(str(key), type_.dtype, numel):
            raise TorchFileError(f"storage {key} is said to be of two types or sizes.")
        return known


# ---------------------------------------------------------------------------------------------
# The two layouts
# ---------------------------------------------------------------------------------------------


def _read_zip(file: io.BufferedIOBase) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise TorchFileError("a zip archive without PyTorch's data.pkl.")
        folder = pickles[0].partition("/")[0]
        if f"{folder}/byteorder" in names and archive.read(f"{folder}/byteorder") != b"little":
            raise TorchFileError("written on a big-endian machine; save it again on a common one.")
        reader = _Unpickler(io.BytesIO(archive.read(pickles[0])))
        root = reader.load()
        storages = {}
        for key, storage in reader.storages.items():
            entry = f"{folder}/data/{key}"
            if entry not in names:
                raise TorchFileError(f"cut short: storage {key} is not in the archive.")
            if archive.getinfo(entry).file_size < storage.numel * storage.dtype.itemsize:
                raise TorchFileError(f"cut short: storage {key} is smaller than its {storage.numel} numbers.")
            storages[key] = np.frombuffer(archive.read(entry), storage.dtype, storage.numel)
        return root, storages


def _read_legacy(file: io.BufferedIOBase) -> tuple[Any, dict[str, np.ndarray]]:
    if _Unpickler(file).load() != MAGIC:
        raise TorchFileError("a pickle, but not one of PyTorch's.")
    protocol, machine = _Unpickler(file).load(), _Unpickler(file).load()
    if protocol != PROTOCOL:
        raise TorchFileError(f"of protocol {protocol!r}; {PROTOCOL} is the one that is known.")
    if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
        raise TorchFileError("written on a big-endian machine; save it again on a common one.")
    reader = _Unpickler(file)
    root = reader.load()
    storages = {}
    for key in map(str, _Unpickler(file).load()):
        if key not in reader.storages:
            raise TorchFileError(f"has a storage {key} of no known type.")
        storage = reader.storages[key]
        numel = int.from_bytes(file.read(8), "little")
        size = storage.numel * storage.dtype.itemsize
        content = file.read(size) if numel == storage.numel else b""
        if len(content) != size:
            raise TorchFileError(f"cut short: storage {key} does not have its {storage.numel} numbers.")
        storages[key] = np.frombuffer(content, storage.dtype)
    return root, storages


# ---------------------------------------------------------------------------------------------
# From what was unpickled to arrays
# ---------------------------------------------------------------------------------------------


def _leaves(node: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > DEEPEST:
        raise TorchFileError(f"nested deeper than {DEEPEST} dictionaries.")
    if isinstance(node, _Tensor | int | float):
        if name:
            yield name, node
    elif isinstance(node, dict | list | tuple):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(value, f"{name}.{key}" if name else str(key), depth + 1)


def _array(leaf: Any, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    if not isinstance(leaf, _Tensor):
        return np.asarray(leaf)
    if leaf.storage.key not in storages:
        raise TorchFileError(f"cut short: storage {leaf.storage.key} is missing.")
    numbers = storages[leaf.storage.key]
    if 0 in leaf.shape:
        return np.empty(leaf.shape, numbers.dtype)
    count = 1
    for n in leaf.shape:  # in Python's integers, which do not overflow
        count *= n
    last = leaf.offset + sum((n - 1) * step for n, step in zip(leaf.shape, leaf.stride))
    if last >= numbers.size or count > numbers.size:
        raise TorchFileError(f"a tensor of shape {leaf.shape} reaches beyond its storage of {numbers.size} numbers.")
    strides = tuple(step * numbers.itemsize for step in leaf.stride)
    view = np.lib.stride_tricks.as_strided(numbers[leaf.offset :], leaf.shape, strides, writeable=False)
    return np.array(view, order="C")
