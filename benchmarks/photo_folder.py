"""The command over a folder of photographs of 12 megapixels, against its network alone.

    python -m benchmarks.photo_folder             printed as JSON; some minutes on two cores
    python -m benchmarks.photo_folder --small     an FFDNet of 4 layers of 16 channels, which costs little
    python -m benchmarks.photo_folder --quick     small photographs: that it runs, no more

bare_mp_per_s            the network, compiled and warm, on arrays of 2 MP in memory, before and after each command
command_mp_per_s         `restore-jax photo FOLDER -o OUT --model MODEL`, reading and writing JPEGs: from the first line
                         of the command to its last, the compilation of its program included; several times
folder_throughput_share  a command's over the mean of the network's before and after it; the median of the commands, as
                         the machine's pace drifts by more than a command costs
cpu_share                the same of CPU seconds a megapixel, all threads together
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from benchmarks.photo_tiles import FFDNET, SMALL, restorer
from restore_jax.build import spec_of
from restore_jax.cli import main as command
from restore_jax.core import Observation
from restore_jax.cpu import prepare
from restore_jax.data.sets.embedded import Embedded
from restore_jax.methods.model import Model, write_model

SIZE, ARRAY = (3024, 4032), (1024, 2048)
TURNS, COMMANDS = 3, 3
QUICK, QUICK_ARRAY = (240, 320), (96, 128)


def photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Embedded photographs, enlarged to a camera's size, as JPEGs of quality 92."""
    folder.mkdir()
    embedded = Embedded("heldout")
    for i in range(count):
        picture = Image.fromarray(embedded[i % len(embedded)])
        picture.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=92)


def bare(restore: object, size: tuple[int, int], turns: int) -> tuple[float, float]:
    """Megapixels a second, and a CPU second, of the network alone."""
    y = np.random.default_rng(0).random((1, *size, 3), np.float32)
    whole, key = jax.jit(restore), jax.random.key(0)
    np.asarray(whole(key, Observation(y=y)))
    start, cpu, mp = time.perf_counter(), time.process_time(), turns * size[0] * size[1] / 1e6
    for _ in range(turns):
        np.asarray(whole(key, Observation(y=y)))
    return mp / (time.perf_counter() - start), mp / (time.process_time() - cpu)


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--photos", type=int, default=3)
    args = parser.parse_args()
    prepare()
    size, array = (QUICK, QUICK_ARRAY) if args.quick else (SIZE, ARRAY)
    restore = restorer(SMALL if args.small or args.quick else FFDNET)
    mp = args.photos * size[0] * size[1] / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs(folder / "in", args.photos, size)
        write_model(folder / "model", Model(spec_of(restore.method), restore.params))
        paces, own = [bare(restore, array, TURNS)], []
        for turn in range(COMMANDS):
            out, start, cpu = folder / f"out{turn}", time.perf_counter(), time.process_time()
            status = command(["photo", str(folder / "in"), "-o", str(out), "--model", str(folder / "model")])
            own.append((mp / (time.perf_counter() - start), mp / (time.process_time() - cpu)))
            written = len(list(out.glob("*.jpg")))
            if status or written != args.photos:
                raise RuntimeError(f"photo_folder: the command wrote {written} of {args.photos} photographs.")
            paces.append(bare(restore, array, TURNS))
    beside = [[2 * one[i] / (a[i] + b[i]) for one, a, b in zip(own, paces, paces[1:])] for i in (0, 1)]
    wall, cpu = map(statistics.median, beside)
    figures = {"bare_mp_per_s": [wall for wall, _ in paces], "command_mp_per_s": [wall for wall, _ in own]}
    print(json.dumps({**figures, "folder_throughput_share": wall, "cpu_share": cpu}))


if __name__ == "__main__":
    main()
