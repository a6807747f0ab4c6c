"""Arrays by name in a safetensors file: a header of names, types and shapes, and the numbers behind it; no code.

Read and written through the library `safetensors`, on NumPy's side. bfloat16 is `ml_dtypes`', as everywhere in JAX.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


class SafetensorsError(ValueError):
    """A file that cannot be read as safetensors; the message names the file and says why."""


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of the file by its name, bit for bit, as an array of its own.

    Raises:
        SafetensorsError: missing, damaged, of another format, or with a type of number that NumPy has not.
    """
    import safetensors

    path = Path(path)
    if not path.is_file():
        raise SafetensorsError(f"{path}: no such file.")
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise SafetensorsError(f"{path}: damaged, or not a safetensors file ({error}).") from error
    unknown = sorted({entry["dtype"] for _, entry in entries} - set(DTYPES))
    if unknown:
        raise SafetensorsError(f"{path}: numbers of type {', '.join(unknown)}; known are {', '.join(DTYPES)}.")
    if not entries:
        raise SafetensorsError(f"{path}: holds no tensor.")
    return {
        name: np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
        for name, entry in entries
    }


def write_safetensors(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays, whole or not at all; equal arrays give equal files.

    Raises:
        SafetensorsError: a type of number that the format has not.
    """
    from safetensors.numpy import save

    path = Path(path)
    dense = {name: np.array(array, order="C") for name, array in sorted(arrays.items())}
    for name, array in dense.items():
        if array.dtype not in DTYPES.values():
            raise SafetensorsError(f"{path}: {name} is {array.dtype}; the format holds {', '.join(DTYPES)}.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(save(dense))
    partial.replace(path)
