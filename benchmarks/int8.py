"""What fewer bits cost trained models, against the truth: a JSON row a model and precision.

    python -m benchmarks.int8 outputs/mobile outputs/mobile_int8 --photographs FOLDER

The middles of the photographs (those held out in the library, or --photographs) are x, and y what the run's own
`degrade` makes of them, in 8 bits. "psnr_to_truth" is the mean PSNR in dB of what a file answers, clipped, to x in RGB;
"cost_db" what that is below the same model's file in float32, "share" its bytes over that file's; "ms" the least
milliseconds of a call with two threads.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.export_files import least_ms
from restore_jax.build import build
from restore_jax.cpu import prepare
from restore_jax.export.calibration import HELDOUT, crop, photographs
from restore_jax.export.exporter import Recipe, export
from restore_jax.infer.load import load
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.checkpoint import read

PRECISIONS = ("fp32", "int8-weights", "int8-dynamic", "int8-static", "int16x8")


def pairs(run: str, source: Any, side: int, scale: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """y of `side` pixels, in [0, 1], and x, for each photograph."""
    degrade, found = build(read(run)[0]["degrade"], "config.degrade"), []
    for number in range(len(source)):
        x = crop(np.asarray(source[number]), side * scale, side * scale)[0].astype(np.float32) / 255
        y = np.asarray(degrade(jax.random.key(number), jnp.asarray(x)).y)
        found.append((np.round(255 * np.clip(y, 0, 1)).astype(np.float32) / 255, x))
    return found


def rows_of(run: str, source: Any, side: int) -> list[dict[str, Any]]:
    """One for each precision, float32 first."""
    restorer, rows = load(run), []
    seen = pairs(run, source, side, restorer.scale)
    for precision in tqdm(PRECISIONS, desc=run, unit="file"):
        with tempfile.TemporaryDirectory() as folder:
            written = export(restorer, Recipe("tflite", ((side, side),), precision), Path(folder) / "net.tflite")
            model = written.model(next(iter(written.graphs)))
            answers = [np.clip(model(y=y[None]), 0, 1) for y, _ in seen]
            psnr = [float(Psnr()(jnp.asarray(a), jnp.asarray(x)[None])[0]) for a, (_, x) in zip(answers, seen)]
            ms = least_ms({"ms": lambda model=model: model(y=seen[0][0][None])})
            row = {"model": Path(run).name, "precision": precision, "bytes": written.bytes}
        rows.append(row | {"psnr_to_truth": round(float(np.mean(psnr)), 3)} | ms)
    first = rows[0]
    for row in rows:
        row["cost_db"] = round(first["psnr_to_truth"] - row["psnr_to_truth"], 3)
        row["share"] = round(row["bytes"] / first["bytes"], 3)
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--photographs", metavar="FOLDER", help="to measure on")
    parser.add_argument("--size", type=int, default=128, metavar="PX", help="the side of y")
    args = parser.parse_args()
    prepare()
    source = photographs(args.photographs, least=1) if args.photographs else build(HELDOUT)
    for run in args.runs:
        for row in rows_of(run, source, args.size):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
