"""Exported files beside JAX: how far, how large, how fast, for FFDNet and a small NAFNet.

    python -m benchmarks.export                                  every format whose extra is installed; minutes
    python -m benchmarks.export --formats tflite --size 256x256  one format, at another size
    python -m benchmarks.export --ffdnet WEIGHTS                 FFDNet with published weights instead of drawn ones

Prints `{"rows": [...]}`, a row being one file: "bytes", "max_diff" over photographs and extremes, "psnr_to_fp32" over
the photographs (None where nothing differs), "ms_1" and "ms_2" the least milliseconds of one call in the format's own
runtime with 1 and 2 threads, "jax_ms" that of `jax.jit` on the same machine, "ops" how many operations the file runs.
Core ML files are evaluated in NumPy, and their times left out: they say nothing of a phone. "trained" is false where
the weights are drawn (He's, so that activations keep their size): then PSNR ranks precisions and says no more.

What is measured is kept in `outputs/export.partial.json` until all of it is, whatever stops the run; delete it to start
anew.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.record import ROOT
from restore_jax.build import build
from restore_jax.core import Observation, Restorer
from restore_jax.cpu import prepare
from restore_jax.export.exporter import PRECISIONS, SUFFIXES, Exported, Recipe, export, sizes
from restore_jax.export.parity import cases
from restore_jax.export.tflite import ops
from restore_jax.infer.model import read_weights

RUNS = 10
PARTIAL = ROOT / "outputs" / "export.partial.json"
NETS = {
    "ffdnet": {"name": "nets.ffdnet.FFDNet"},
    "nafnet": {"name": "nets.nafnet.NAFNet", "width": 16, "enc_blocks": (1, 1), "dec_blocks": (1, 1)},
}


def method(net: dict[str, Any]) -> Any:
    """A net that denoises at level 25 / 255, once."""
    return build(
        {
            "name": "methods.regression.Regression",
            "net": net,
            "precondition": {"name": "diffusion.precondition.Plain"},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.once.Once", "sigma": 25 / 255},
        }
    )


def restorer(name: str, weights: Path | None) -> Restorer:
    """A net with published weights, or with drawn ones: normal, of variance 2 / fan_in."""
    if weights is not None:
        model = read_weights(weights, 25 / 255)
        return build(model.method).restorer(jax.tree.map(jnp.asarray, model.params))
    one = method(NETS[name])
    x, rng = jnp.zeros((1, 32, 32, 3)), np.random.default_rng(0)
    shapes = jax.eval_shape(one.init, jax.random.key(0), Observation(y=x), x)

    def draw(path: Any, leaf: Any) -> jax.Array:
        if leaf.ndim < 2:  # scales near one, biases and the weights of branches near zero
            kind = path[-1].key
            return jnp.float32((kind == "scale") + 0.1 * rng.standard_normal(leaf.shape))
        last = 0.1 if path[0].key == "ending" else 1  # what a restorer adds to its picture is small
        return jnp.float32(last * rng.standard_normal(leaf.shape) * (2 / np.prod(leaf.shape[:-1])) ** 0.5)

    return one.restorer(jax.tree_util.tree_map_with_path(draw, shapes))


def least_ms(function: Callable[..., Any], arrays: dict[str, np.ndarray]) -> float:
    """The least milliseconds of a call, after a first one."""
    np.asarray(function(**arrays))
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        np.asarray(function(**arrays))
        seconds.append(time.perf_counter() - start)
    return round(1000 * min(seconds), 2)


def operations(written: Exported, model: Any) -> int | None:
    """How many operations the file runs, where it says."""
    if written.recipe.to == "tflite":
        return len(ops(written.path))
    return len(model.ops) if hasattr(model, "ops") else None


def keep(found: list[dict[str, Any]]) -> None:
    """Writes what is measured so far, whole or not at all."""
    PARTIAL.parent.mkdir(exist_ok=True)
    fresh = PARTIAL.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(found))
    fresh.replace(PARTIAL)


def measure(
    name: str, weights: Path | None, formats: list[str], size: str, found: list[dict[str, Any]], bar: tqdm
) -> None:
    """Appends to `found` a row for each format and precision of one net that is not there yet."""
    one = restorer(name, weights)
    for to in formats:
        for precision in PRECISIONS[to]:
            bar.set_postfix_str(f"{name} {to} {precision}")
            key = {"model": name, "trained": weights is not None, "format": to, "precision": precision, "size": size}
            if any(key.items() <= row.items() for row in found):
                bar.update()
                continue
            with tempfile.TemporaryDirectory() as folder:
                recipe = Recipe(to, sizes(size), precision)
                try:
                    written = export(one, recipe, Path(folder) / f"net{SUFFIXES[to]}")
                except ImportError as error:
                    tqdm.write(f"{to} is left out: {error}")
                    break
                (row,) = written.check()
                ((graph_name, graph),) = written.graphs.items()
                model, arrays = written.model(graph_name, threads=2), next(iter(cases(graph).values()))
                timed = to != "coreml"
                threaded = to in ("tflite", "onnx")
                found.append(
                    {
                        **key,
                        "steps": one.nfe,
                        "bytes": written.bytes,
                        "max_diff": row["max_diff"],
                        "psnr_to_fp32": row["psnr_to_fp32"],
                        "ms_1": least_ms(written.model(graph_name, threads=1), arrays) if threaded else None,
                        "ms_2": least_ms(model, arrays) if timed else None,
                        "jax_ms": least_ms(jax.jit(graph.__call__), arrays),
                        "ops": operations(written, model),
                    }
                )
            keep(found)
            bar.update()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--nets", nargs="+", choices=tuple(NETS), default=list(NETS))
    parser.add_argument("--size", default="128x128", metavar="HxW")
    parser.add_argument("--ffdnet", type=Path, metavar="WEIGHTS")
    args = parser.parse_args()
    prepare()
    total = len(args.nets) * sum(len(PRECISIONS[to]) for to in args.formats)
    found: list[dict[str, Any]] = json.loads(PARTIAL.read_text()) if PARTIAL.exists() else []
    with tqdm(total=total, desc="export", unit="file") as bar:
        for name in args.nets:
            measure(name, args.ffdnet if name == "ffdnet" else None, args.formats, args.size, found, bar)
    print(json.dumps({"rows": found}))
    PARTIAL.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
