"""One call from a restorer to a file: `export(restorer, Recipe(to="tflite", precision="fp16"), path)`.

to          precision                                                several sizes in one file
tflite      fp32 fp16 int8-dynamic int8-weights int8-static int16x8  signatures
coreml      fp32 fp16 int8-weights palette8                          functions
onnx        fp32                                                     no
stablehlo   fp32                                                     no
"""

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from restore_jax import __version__
from restore_jax.core import Restorer
from restore_jax.export import coreml, quantize
from restore_jax.export.activations import overflows, ranges
from restore_jax.export.calibration import calibration, photographs
from restore_jax.export.coreml import to_coreml
from restore_jax.export.graph import ExportError, Graph, restorer_graph, whole
from restore_jax.export.locate import divergence
from restore_jax.export.mil import CoreMLModel
from restore_jax.export.onnx import OnnxModel, to_onnx
from restore_jax.export.parity import agreement, apart, cases, exact
from restore_jax.export.rounding import kernels, mixed, replaced
from restore_jax.export.stablehlo import load_stablehlo, to_stablehlo
from restore_jax.export.tflite import SIGNATURE, TFLiteModel, fused, to_tflite
from restore_jax.infer.around import is_local
from restore_jax.methods.model import is_model, located, read_model
from restore_jax.train.checkpoint import read

PRECISIONS = {
    "tflite": ("fp32", *quantize.PRECISIONS),
    "coreml": coreml.PRECISIONS,
    "onnx": ("fp32",),
    "stablehlo": ("fp32",),
}
SUFFIXES = {"tflite": ".tflite", "coreml": ".mlpackage", "onnx": ".onnx", "stablehlo": ".stablehlo"}
SEVERAL = ("tflite", "coreml")
# What a file may differ by from its graph, on photographs and extremes: the largest difference, or the least PSNR.
MAX_DIFF = {"fp32": 1e-5}
PSNR_DB = {"fp16": 55.0, "int8-weights": 42.0}


@dataclass(frozen=True)
class Recipe:
    """What is to be written.

    `sizes` are heights and widths of y, several as signatures or functions that share their weights. With `uint8`, y
    and x_hat are pictures of 8 bits. `calibration` is a folder of photographs, by which 8 bits are chosen
    (`export.rounding`; the ranges of "int8-static" and "int16x8" too); None takes those that come with the library.
    `keep_float32` names types of Core ML's operations, or arrays, that keep 32 bits where the rest has 16; None takes
    the arrays that would overflow on the same photographs (`mil.CoreMLModel.loud`). With `least_db`, modules
    keep weights of 16 bits until the picture has that PSNR to float32 on those photographs (`rounding.mixed`).

    Raises:
        ValueError: a format, a precision in it, or sizes that do not exist; `least_db` for another than TFLite's
            "int8-weights", whose arithmetic stays in float32.
    """

    to: str = "tflite"
    sizes: tuple[tuple[int, int], ...] = ((256, 256),)
    precision: str = "fp32"
    uint8: bool = False
    calibration: str | None = None
    keep_float32: tuple[str, ...] | None = None
    least_db: float | None = None

    def __post_init__(self) -> None:
        if self.to not in PRECISIONS:
            raise ValueError(f"Recipe.to must be one of {', '.join(PRECISIONS)}, not {self.to!r}.")
        if self.precision not in PRECISIONS[self.to]:
            some = ", ".join(PRECISIONS[self.to])
            raise ValueError(f"Recipe.precision for {self.to} must be one of {some}, not {self.precision!r}.")
        if not self.sizes or len(set(self.sizes)) < len(self.sizes) or min(min(size) for size in self.sizes) < 1:
            raise ValueError(f"Recipe.sizes must be different heights and widths of 1 or more, not {self.sizes}.")
        if len(self.sizes) > 1 and self.to not in SEVERAL:
            raise ValueError(f"Recipe.sizes must be one size for {self.to}, not {self.sizes}; write a file for each.")
        if self.least_db is not None and (self.to, self.precision) != ("tflite", "int8-weights"):
            raise ValueError(f"Recipe.least_db is for int8-weights in tflite, not {self.precision} in {self.to}.")


@dataclass(frozen=True)
class Exported:
    """A file that was written, by what recipe, and the graphs in it by the names it gives them.

    `halves` are the modules whose weights have 16 bits where others have 8, `kept` what has 32 in Core ML
    where the rest has 16.
    """

    path: Path
    recipe: Recipe
    graphs: dict[str, Graph]
    halves: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """What it weighs, a folder with all that is in it."""
        files = [self.path] if self.path.is_file() else [f for f in self.path.rglob("*") if f.is_file()]
        return sum(file.stat().st_size for file in files)

    def model(self, name: str, threads: int = 2, keep: bool = False) -> Any:
        """The file's graph `name` as a function of named arrays, in the runtime of its format; see `TFLiteModel`."""
        if self.recipe.to == "tflite":
            return TFLiteModel(self.path, threads, name, keep)
        if self.recipe.to == "coreml":
            return CoreMLModel(self.path, name)
        if self.recipe.to == "onnx":
            return OnnxModel(self.path, threads, keep)
        return partial(by_name, jax.jit(load_stablehlo(self.path)), tuple(self.graphs[name].inputs))

    def check(self) -> list[dict[str, Any]]:
        """Runs every graph of the file beside JAX on photographs and extremes: a row of figures for each.

        "agrees" says whether the precision's bound holds (None where there is none); in a row of float32 that does not
        agree, "begins" says where the difference begins, where the format's runtime shows what it computes, and
        "file_to_float64" and "jax_to_float64" how far each is from the graph in float64, on the worst case.
        """
        return [self._row(name, graph) for name, graph in self.graphs.items()]

    def _row(self, name: str, graph: Graph) -> dict[str, Any]:
        given, precision = cases(graph), self.recipe.precision
        found = agreement(graph, self.model(name), given)
        limit = 1 / 255 if self.recipe.uint8 else MAX_DIFF.get(precision)
        agrees = None
        if precision in MAX_DIFF and limit is not None:
            agrees = found.max_diff <= limit * (1 + 1e-6)
        elif precision in PSNR_DB and not self.recipe.uint8:
            agrees = found.psnr_db >= PSNR_DB[precision]
        _, h, w, _ = graph.inputs["y"].shape
        row = {
            "format": self.recipe.to,
            "precision": precision,
            "size": f"{h}x{w}",
            "max_diff": number(found.max_diff),
            "psnr_to_fp32": number(found.psnr_db),
            "worst": found.worst,
            "agrees": agrees,
        }
        if agrees is False and precision == "fp32" and not self.recipe.uint8:
            row |= self._to_float64(name, graph, given[found.worst])
        if agrees is False and precision == "fp32" and self.recipe.to != "stablehlo" and not self.recipe.uint8:
            first = next(iter(given.values()))
            row["begins"] = str(divergence(graph, self.model(name, keep=True).values(**first), first))
        return row

    def _to_float64(self, name: str, graph: Graph, arrays: Mapping[str, Any]) -> dict[str, float | None]:
        """How far the file and JAX each are from the graph in float64: what a graph does to roundings, both show."""
        try:
            truth = exact(graph, arrays)
        except (ValueError, TypeError):  # a graph that names its types
            return {}
        sides = {"file": self.model(name)(**arrays), "jax": jax.jit(graph.__call__)(**arrays)}
        return {
            f"{side}_to_float64": number(float(np.max(np.abs(apart(np.asarray(answer, np.float64), truth)))))
            for side, answer in sides.items()
        }


def export(
    restorer: Restorer,
    recipe: Recipe,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    channels: int = 3,
) -> Exported:
    """Write `restorer` to `path` by `recipe`; whole or not at all.

    `metadata` (`described` reads it from a model's files) travels inside, with what the file takes and returns;
    StableHLO has no place for it, and `path` gets a neighbour `.json`. Seconds to minutes, more in 8 bits: the graph
    runs on every photograph, and with `least_db` three times as often as it has modules.

    Raises:
        ImportError: the format's extra is not installed; the message has the pip command.
        ValueError: a size that the network's `factor` does not divide, with the next ones; another suffix; a
            `least_db` that leaves no module in 8 bits.
        CalibrationError: too few photographs.
        ExportError: an operation that the format cannot hold.
    """
    path = Path(path)
    if path.suffix != SUFFIXES[recipe.to]:
        raise ValueError(f"export: path must end in {SUFFIXES[recipe.to]} for {recipe.to}; it is {os.fspath(path)!r}.")
    for height, width in recipe.sizes:
        check_size(restorer, height, width)
    graphs = {}
    for height, width in recipe.sizes:
        graph = restorer_graph(restorer, height, width, channels)
        texts = {**(metadata or {}), **interface(restorer, graph, recipe), "precision": recipe.precision}
        name = f"size_{height}x{width}" if len(recipe.sizes) > 1 else default(recipe.to)
        graphs[name] = dataclasses.replace(graph, metadata=texts)
    eight = {name: graph.as_uint8() if recipe.uint8 else graph for name, graph in graphs.items()}
    written, pictures, halves, kept = graphs if recipe.to == "coreml" else eight, None, (), recipe.keep_float32 or ()
    if recipe.to == "coreml" and recipe.precision != "fp32" and recipe.keep_float32 is None:
        source = photographs(recipe.calibration)
        found = (loud(graph, eight[name], source) for name, graph in graphs.items())
        kept = tuple(dict.fromkeys(name for one in found for name in one))
    if recipe.precision.startswith("int"):
        # What is replayed to replace its kernels has been traced by then.
        written = {name: fused(graph) for name, graph in written.items()} if recipe.to == "tflite" else written
        source, first = photographs(recipe.calibration), next(iter(eight.values()))
        seen = list(calibration(first, source))
        found = kernels(first, seen)
        if recipe.least_db is not None:
            halves = mixed(first, seen, found, recipe.least_db)
        instead = {one.digest: one.rounded for one in found if one.module not in halves}
        written = {name: replaced(graph, instead) for name, graph in written.items()}
        if recipe.precision in quantize.STATIC:
            pictures = {name: calibration(graph, source) for name, graph in eight.items()}
    if recipe.to == "tflite":
        to_tflite(written, path, recipe.precision, pictures, halves)
    elif recipe.to == "coreml":
        to_coreml(written, path, recipe.precision, kept, images=recipe.uint8)
    else:
        (graph,) = eight.values()
        (to_onnx if recipe.to == "onnx" else to_stablehlo)(graph, path)
        if recipe.to == "stablehlo":
            with whole(path.with_suffix(".json")) as fresh:
                fresh.write_text(json.dumps(graph.metadata, indent=1) + "\n")
    return Exported(path, recipe, eight, halves, kept)


def loud(graph: Graph, shown: Graph, source: Any) -> tuple[str, ...]:
    """The arrays of the package of `graph`, by name, that 16 bits cannot hold on photographs; none if none in JAX.

    `shown` is the same graph as the package takes its pictures: itself, or in 8 bits.
    """
    if not overflows(ranges(graph, calibration(graph, source))):
        return ()
    with tempfile.TemporaryDirectory(prefix="loud.") as folder:
        package = to_coreml(graph, Path(folder) / "net.mlpackage", images=shown is not graph)
        return CoreMLModel(package).loud(calibration(shown, source))


def default(to: str) -> str:
    """What a file calls the only graph in it."""
    return {"tflite": SIGNATURE}.get(to, "main")


def check_size(restorer: Restorer, height: int, width: int) -> None:
    """Raise ValueError, with the next valid sizes, unless the network's factor divides the sides of x.

    A restorer would pad and crop, which on a phone costs two copies a picture.
    """
    unit = math.lcm(getattr(restorer, "factor", 1), restorer.scale) // restorer.scale
    if height % unit or width % unit:
        below = [side // unit * unit for side in (height, width)]
        above = [-(-side // unit) * unit for side in (height, width)]
        sizes = [f"{h}x{w}" for h, w in (below, above) if min(h, w) > 0]
        raise ValueError(
            f"export: size must be a multiple of {unit}, the network's factor, both ways; it is {height}x{width}. "
            f"The next are {' and '.join(sizes)}."
        )


def stepped(restorer: Any, steps: int) -> Any:
    """The same restorer in `steps` steps: its sampler's levels spread evenly in their logarithm, the ends kept.

    A sampler of one level goes down to a tenth of it. Regressions take one step.

    Raises:
        ValueError: the restorer has no such sampler, or takes one step only.
    """
    sampler: Any = getattr(restorer, "sampler", None)
    sigmas = getattr(sampler, "sigmas", None)
    if getattr(restorer, "nfe", None) == steps:
        return restorer
    if sigmas is None or sigmas[0] == 0 or steps < 1:
        raise ValueError(
            f"export: steps must be {getattr(restorer, 'nfe', 1)} for this model, not {steps}: only samplers with "
            "levels of their own (diffusion.sampler.Consistency, diffusion.flow_map.FlowMap) take other numbers."
        )
    last = sigmas[-1] if len(sigmas) > 1 and sigmas[-1] > 0 else sigmas[0] / 10
    levels = tuple(float(level) for level in np.geomspace(sigmas[0], last, steps)) if steps > 1 else sigmas[:1]
    return dataclasses.replace(restorer, sampler=dataclasses.replace(sampler, sigmas=levels))


def interface(restorer: Any, graph: Graph, recipe: Recipe) -> dict[str, str]:
    """What a graph takes and returns, and which numbers it is made of, in words."""
    _, h, w, c = graph.inputs["y"].shape
    kind = "8-bit sRGB, 0 to 255" if recipe.uint8 else "float32 sRGB in [0, 1]"
    texts = {
        "y_description": f"The photograph to restore, 1 x {h} x {w} x {c}, {kind}.",
        f"{graph.output}_description": f"The restored photograph, {restorer.scale} times the size, {kind}"
        + ("." if recipe.uint8 else ", not clipped."),
        "expected_range": "0 255" if recipe.uint8 else "0 1",
        "scale": str(restorer.scale),
        "steps": str(getattr(restorer, "nfe", 1)),
        "draws": str(restorer.draws),
        "factor": str(getattr(restorer, "factor", 1)),
        "halo_px": str(getattr(restorer, "halo_px", 0)),
        "local": str(is_local(restorer)),
    }
    if "noise" in graph.inputs:
        texts["noise_description"] = f"Standard normal noise, {restorer.draws} images side by side on the last axis."
    if hasattr(restorer, "params"):
        texts["params_sha256"] = digest(restorer.params)
    return texts


def digest(params: Any) -> str:
    """The SHA-256 of parameters: of each path, shape and array in float32, in the order of JAX's trees."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(leaf, np.float32)
        total.update(f"{jax.tree_util.keystr(path)} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def described(path: str | Path) -> dict[str, str]:
    """The metadata of a model's files, a shipped one's by its name: what it is called, version, licence, and protocol.

    Raises:
        CheckpointError, ModelError: neither a checkpoint nor a model is there.
    """
    path = located(path)
    if is_model(path):
        model = read_model(path)
        name, licence = model.architecture, model.provenance.get("licence", "unknown")
        protocol = {"source": model.provenance.get("source", "unknown"), "sampler": model.method["sampler"]}
    else:
        config, _, _ = read(path)
        name, licence = config["method"].get("net", config["method"])["name"], "unknown"
        protocol = {key: config[key] for key in ("degrade", "train_set") if key in config}
    return {
        "name": name,
        "short_description": f"{name}, a restorer of photographs (restore_jax {__version__}).",
        "version": __version__,
        "license": licence,
        "protocol": json.dumps(protocol, default=str),
    }


def number(value: float) -> float | None:
    """What JSON can hold of a figure: None where it is infinite, no difference or no numbers at all."""
    return value if math.isfinite(value) else None


def by_name(function: Callable[..., Any], names: tuple[str, ...], **arrays: Any) -> np.ndarray:
    """A function of arrays by position, of arrays by name."""
    return np.asarray(function(*(arrays[name] for name in names)))


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """The sizes in a text like "256x256,512x384": heights and widths.

    Raises:
        ValueError: another text.
    """
    try:
        found = tuple((int(h), int(w)) for h, w in (one.lower().split("x") for one in text.split(",")))
    except ValueError as error:
        raise ValueError(f"size must read like 256x256 or 256x256,512x384, not {text!r}.") from error
    return found


__all__ = ["ExportError", "Exported", "Recipe", "check_size", "described", "digest", "export", "sizes", "stepped"]
