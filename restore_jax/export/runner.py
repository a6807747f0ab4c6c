"""An exported file as a restorer: what tiles, strength and samples do around JAX they do around it.

    restorer = run("net.tflite")                a file, told by its metadata
    restorer = exported(load("denoise"))        a model, written to files for this process, one a size of picture

Which of the two is faster depends on the net and its precision: `docs/export.md` has figures.
"""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from restore_jax.core import Keys, Observation, Restorer, normal
from restore_jax.export.exporter import Recipe, export
from restore_jax.export.graph import ExportError
from restore_jax.export.tflite import TFLiteModel, metadata
from restore_jax.infer.around import is_local
from restore_jax.infer.load import load
from restore_jax.infer.restoration import tiled
from restore_jax.infer.tile import AREA, Tile

AREA_PX = 2**19  # of y a tile: an array of 64 channels takes 134 MB, and a file at work a few of them
KEPT = 4  # sizes of pictures whose files stay in memory
SAID = ("scale", "draws", "factor", "halo_px", "local")  # in the metadata of a file of ours


@dataclass(frozen=True, eq=False)
class Runner:
    """TFLite files as a restorer; `fitting(h, w)` is one that takes pictures as large or larger.

    A picture smaller than the file's input is continued by its mirror image, and the answer cut. `tile_px` is the side
    of the tiles that a photograph is to be cut into, None where every size has a file of its own; `scale`, `draws`,
    `factor`, `halo_px` and `local` are those of the network. It runs on the host, a batch one by one, and may be called
    inside `jit`.
    """

    fitting: Callable[[int, int], TFLiteModel]
    tile_px: int | None
    scale: int
    draws: int
    factor: int
    halo_px: int
    local: bool

    batch = 1  # tile at a time: more would only wait, and the last ones be filled up

    @property
    def area_px(self) -> int:
        """Pixels of x at most in a tile, where `tile_px` is None."""
        return min(AREA, AREA_PX * self.scale**2)

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The restored picture.

        Raises:
            ValueError: no file takes a picture as large as y.
        """
        y = jnp.asarray(obs.y, jnp.float32)
        *batch, h, w, c = y.shape
        # A file is written at once, whatever is being traced around it: in a thread of its own nothing is. In
        # `jax.ensure_compile_time_eval` flax would draw every parameter that it asks for the shape of.
        with ThreadPoolExecutor(1) as alone:
            alone.submit(self.fitting, h, w).result()
        shape, given = (*batch, h * self.scale, w * self.scale, c), {"y": y}
        if self.draws:
            wide = (*shape[:-1], c * self.draws)
            given["noise"] = obs.cond["noise"] if "noise" in obs.cond else normal(key, wide, y.dtype)
        return jax.pure_callback(self._run, jax.ShapeDtypeStruct(shape, jnp.float32), given, vmap_method="expand_dims")

    def _run(self, given: dict[str, Any]) -> Float32[np.ndarray, "*b h w c"]:
        arrays = {name: np.asarray(array) for name, array in given.items()}
        *batch, h, w, _ = arrays["y"].shape
        model = self.fitting(h, w)
        _, high, wide, _ = model.inputs["y"]
        whole = {}
        for name, array in arrays.items():
            s = 1 if name == "y" else self.scale
            edges = [(0, 0), (0, (high - h) * s), (0, (wide - w) * s), (0, 0)]
            several = array.reshape(-1, *array.shape[-3:])
            whole[name] = np.pad(several, edges, mode="symmetric") if (h, w) != (high, wide) else several
        ones = [model(**{name: array[i : i + 1] for name, array in whole.items()}) for i in range(len(whole["y"]))]
        out = np.concatenate(ones)[:, : h * self.scale, : w * self.scale]
        return out.reshape(*batch, *out.shape[1:])


def run(path: str | Path, threads: int | None = None) -> Runner:
    """The restorer in a TFLite file that `export.exporter.export` wrote. Tiles are of its largest square size.

    `threads` are as many as there are cores, where None is given.

    Raises:
        ImportError: the extra is not installed.
        ExportError: the file is not ours, takes pictures of 8 bits, or none that is square.
    """
    threads = threads or os.cpu_count() or 1
    texts, first = metadata(path), TFLiteModel(path, threads)
    missing = [name for name in SAID if name not in texts]
    if missing:
        raise ExportError(f"{path} does not say its {', '.join(missing)}: write it with `restore-jax export`.")
    models = [first, *(TFLiteModel(path, threads, name) for name in first.signatures[1:])]
    sizes = {model.inputs["y"][1:3]: model for model in models}
    squares = [high for high, wide in sizes if high == wide]
    if texts.get("expected_range") != "0 1" or not squares:
        raise ExportError(f"{path} takes {', '.join(map(str, sizes))}: export a square --size, without --uint8.")

    def fitting(h: int, w: int) -> TFLiteModel:
        found = [(high * wide, high, wide) for high, wide in sizes if high >= h and wide >= w]
        if not found:
            raise ValueError(f"{path} takes pictures of {', '.join(map(str, sizes))}, not {h} x {w}: take tiles of it.")
        return sizes[min(found)[1:]]

    numbers = {name: int(texts[name]) for name in SAID[:-1]}
    return Runner(fitting, max(squares), **numbers, local=texts["local"] == "True")


def exported(
    restorer: Restorer, tile_px: int | None = None, precision: str = "fp32", threads: int | None = None
) -> Runner:
    """A restorer in TFLite files of its own, each written when the first picture of its size comes; seconds each.

    `tile_px` is raised to four halos, and to the network's grid; None leaves the size of tiles to the photograph.

    Raises:
        ImportError: the extra is not installed.
        ExportError: (when called) an operation that TFLite cannot run.
    """
    factor, halo_px = getattr(restorer, "factor", 1), getattr(restorer, "halo_px", 0)
    unit = Tile(restorer).unit
    side = None if tile_px is None else tiled(restorer, tile_px).tile_px
    threads = threads or os.cpu_count() or 1

    @lru_cache(KEPT)
    def written(h: int, w: int) -> TFLiteModel:
        with tempfile.TemporaryDirectory(prefix="restore_jax.") as folder:
            path = Path(folder) / "net.tflite"
            export(restorer, Recipe(sizes=((h, w),), precision=precision), path)
            return TFLiteModel(path.read_bytes(), threads)

    def fitting(h: int, w: int) -> TFLiteModel:
        return written(-(-h // unit) * unit, -(-w // unit) * unit)

    return Runner(fitting, side, restorer.scale, restorer.draws, factor, halo_px, is_local(restorer))


def loaded(path: str | Path, runtime: str = "jax", tile_px: int | None = None) -> Restorer:
    """The restorer at `path` in a runtime: "jax", or "tflite" for LiteRT's; a `.tflite` file has its own.

    Raises:
        ValueError: another runtime, or a size of tiles that is not the file's.
        CheckpointError, ModelError, ExportError: as `infer.load.load`, `run` and `exported`.
    """
    if runtime not in ("jax", "tflite"):
        raise ValueError(f"loaded.runtime must be jax or tflite, not {runtime!r}.")
    if Path(path).suffix == ".tflite":
        runner = run(path)
        if tile_px not in (None, runner.tile_px):
            raise ValueError(f"{path} takes tiles of {runner.tile_px} pixels, not {tile_px}: leave --tile out.")
        return runner
    restorer = load(path)
    return restorer if runtime == "jax" else exported(restorer, tile_px)
