"""Tiles against whole pictures: differences, memory and time of photographs of 12, 24 and 48 megapixels.

    python -m benchmarks.photo_tiles             all of it, printed as JSON; a quarter of an hour on two cores
    python -m benchmarks.photo_tiles --small     an FFDNet of 4 layers of 16 channels instead, where the machine is slow
    python -m benchmarks.photo_tiles --quick     small pictures: that it runs, no more

tiled_max_diff   each local net of `restore_jax.nets` (its first example, random weights) tiled and whole: the
                 largest difference over the largest value, five odd sizes and tile sizes
peak_mb          of a process that streams a photograph of noise from a file to a file through an FFDNet of full size:
                 VmHWM at the end less VmRSS after the imports and the weights, in MB (10^6 bytes)
s_per_mp         seconds a megapixel, in one process and in turn: "2" the whole picture of 1024 x 2048 in one call, "48"
                 the tiles of 8064 x 6048 from rows to rows; medians, and `ratio` the median of neighbours' ratios
"""

import argparse
import contextlib
import importlib
import json
import math
import os
import pkgutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import restore_jax.nets
from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.cpu import prepare
from restore_jax.infer.bands import to_levels
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Sampled

SIZES = {"12": (2016, 6048), "24": (4032, 6048), "48": (8064, 6048)}  # of one width: memory is to be one too
QUICK = {"12": (120, 300), "24": (240, 300), "48": (480, 300)}
ODD = ((97, 61), (75, 131), (53, 149), (119, 119), (141, 87))
FFDNET = {"name": "nets.ffdnet.FFDNet"}
SMALL = FFDNET | {"width": 16, "depth": 4}


def restorer(net: dict[str, Any], seed: int = 0) -> Sampled:
    """A net with random weights, which asks it once."""
    scale = build(net).scale
    method = build(
        {
            "name": "methods.regression.Regression",
            "net": net,
            "scale": scale,
            "precondition": {"name": f"diffusion.precondition.{'Plain' if scale == 1 else 'Direct'}"},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.once.Once", "sigma": 0.1},
        }
    )
    y, x = jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16 * scale, 16 * scale, 3))
    shapes = jax.eval_shape(lambda: method.init(jax.random.key(0), Observation(y=y), x))
    rng = np.random.default_rng(seed)

    def draw(p: Any) -> jax.Array:
        return jnp.asarray(rng.standard_normal(p.shape, np.float32) / max(1, math.prod(p.shape[:-1])) ** 0.5)

    return method.restorer(jax.tree.map(draw, shapes))


def local_nets() -> dict[str, dict[str, Any]]:
    """The first example of every net that says it is local."""
    found: dict[str, dict[str, Any]] = {}
    for info in pkgutil.iter_modules(restore_jax.nets.__path__):
        for spec in getattr(importlib.import_module(f"restore_jax.nets.{info.name}"), "EXAMPLES", ()):
            net = build(spec)
            if getattr(net, "local", False) and hasattr(net, "receptive_px"):
                found.setdefault(type(net).__name__, spec)
    return found


def difference(net: dict[str, Any], sizes: tuple[tuple[int, int], ...]) -> float:
    """The largest difference of tiled and whole over the largest value of whole."""
    restore, key = restorer(net), jax.random.key(0)
    least = 2 * Tile(restore).halo + Tile(restore).unit
    worst = 0.0
    for k, size in enumerate(sizes):
        y = np.random.default_rng(k).random((*size, 3), np.float32)
        whole = np.asarray(jax.jit(restore)(key, Observation(y=y[None]))[0])
        side = min(least + (k + 1) * 8 // Tile(restore).unit * Tile(restore).unit, 10**4)
        tiled = Tile(restore, side, batch=2)(key, Observation(y=y))
        worst = max(worst, float(np.abs(tiled - whole).max() / np.abs(whole).max()))
    return worst


class File:
    """Rows of a file of bytes, read as they are asked for, and one that they are written to."""

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.path, self.shape, self.out = path, shape, path.with_suffix(".out")

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Rows top to bottom - 1."""
        _, w, c = self.shape
        part = np.fromfile(self.path, np.uint8, (bottom - top) * w * c, offset=top * w * c)
        return part.reshape(bottom - top, w, c)

    def write(self, rows: np.ndarray) -> None:
        """The next rows, as bytes."""
        with open(self.out, "ab") as out:
            for first in range(0, len(rows), 64):
                out.write(to_levels(rows[first : first + 64], np.uint8).tobytes())


def memory_mb(kind: str) -> float:
    """`VmRSS` or `VmHWM` of this process."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(kind))
    return int(line.split()[1]) * 1024 / 1e6


def photograph(folder: Path, size: tuple[int, int]) -> File:
    """A file of noise, written row by row."""
    h, w = size
    rng = np.random.default_rng(0)
    with open(folder / "picture", "wb") as out:
        for top in range(0, h, 64):
            out.write(rng.integers(0, 256, (min(64, h - top), w, 3), np.uint8).tobytes())
    return File(folder / "picture", (h, w, 3))


def peak(net: dict[str, Any], size: tuple[int, int]) -> dict[str, float]:
    """What one photograph takes in this process."""
    restore = restorer(net)
    jax.block_until_ready(restore.params)
    with tempfile.TemporaryDirectory() as folder:
        file = photograph(Path(folder), size)
        before, start = memory_mb("VmRSS"), time.perf_counter()
        Tile(restore).stream(jax.random.key(0), file, file)
        seconds = time.perf_counter() - start
        if os.path.getsize(file.out) != math.prod(file.shape):
            raise ValueError("photo_tiles: the output is not whole.")
    return {"peak_mb": memory_mb("VmHWM") - before, "seconds": seconds}


class _Enough(Exception):
    pass


def pace(net: dict[str, Any], size: tuple[int, int], small: tuple[int, int], turns: int) -> dict[str, float]:
    """Whole pictures and tiles in turn, in one process, after both are compiled."""
    restore, key = restorer(net), jax.random.key(0)
    y = np.random.default_rng(1).random((1, *small, 3), np.float32)
    whole = jax.jit(restore)
    tile = Tile(restore)
    times: dict[str, list[float]] = {"whole": [], "tiles": []}
    began = 0.0

    def in_turn(done: int, total: int) -> None:
        nonlocal began
        own = time.perf_counter() - began
        start = time.perf_counter()
        np.asarray(whole(key, Observation(y=y)))
        if done > 2:  # both are warm
            times["whole"].append((time.perf_counter() - start) / (math.prod(small) / 1e6))
            times["tiles"].append(own / (math.prod(size) / 1e6 / total * (done - before[0])))
        before[0] = done
        if len(times["tiles"]) >= turns:
            raise _Enough
        began = time.perf_counter()

    before = [0]
    with tempfile.TemporaryDirectory() as folder:
        file = photograph(Path(folder), size)
        began = time.perf_counter()
        with contextlib.suppress(_Enough):
            tile.stream(key, file, file, progress=in_turn)
    ratios = [b / a for a, b in zip(times["whole"], times["tiles"])]
    return {
        "2": statistics.median(times["whole"]),
        "48": statistics.median(times["tiles"]),
        "ratio": statistics.median(ratios),
    }


def apart(*arguments: str) -> dict[str, Any]:
    """What this file says in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.photo_tiles", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--pace", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    prepare()
    sizes, net = QUICK if args.quick else SIZES, SMALL if args.small or args.quick else FFDNET
    if args.peak:
        print(json.dumps(peak(net, sizes[args.peak])))
    elif args.pace:
        print(json.dumps(pace(net, sizes["48"], (64, 128) if args.quick else (1024, 2048), 1 if args.quick else 9)))
    else:
        quick = [f"--{name}" for name in ("quick", "small") if getattr(args, name)]
        figures = {
            "peak_mb": {name: round(apart("--peak", name, *quick)["peak_mb"]) for name in sizes},
            "s_per_mp": apart("--pace", *quick),
            "tiled_max_diff": {
                name: difference(net, ODD[:1] if args.quick else ODD) for name, net in local_nets().items()
            },
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
