"""Every net that restores, and few-step samplers, in every format and precision that has a bound.

Weights are drawn, normal of variance 1 / fan_in, so that differences are over the largest value of the answer; the
nets that are quick go with every run, the rest with `make soak`.
"""

import dataclasses
import importlib
import importlib.util
import pkgutil

import numpy as np
import pytest

import restore_jax.nets
from benchmarks.photo_tiles import restorer as drawn
from restore_jax.build import build
from restore_jax.diffusion.sampler import Consistency
from restore_jax.export.exporter import SUFFIXES, Recipe, export
from restore_jax.export.parity import cases

NEEDED = {
    "tflite": ("litert_converter", "ai_edge_litert", "litert_quantizer"),
    "coreml": ("coremltools", "stablehlo_coreml"),
    "onnx": ("jax2onnx",),
    "stablehlo": (),
}
QUICK = ("ECBSR", "DnCNN", "FFDNet")
SIDE = {1: 32, 2: 16, 4: 16}
UNET = {"name": "nets.unet.UNet", "width": 16, "multipliers": (1, 2), "blocks": 1}
STEPS = {1: (0.5,), 2: (0.5, 0.1), 4: (0.5, 0.2, 0.1, 0.05)}


def models():
    """Names and how to make them: the first example of every net, and one net's sampler of 1, 2 and 4 steps."""
    for info in pkgutil.iter_modules(restore_jax.nets.__path__):
        for spec in getattr(importlib.import_module(f"restore_jax.nets.{info.name}"), "EXAMPLES", ())[:1]:
            if hasattr(build(spec), "factor"):
                yield type(build(spec)).__name__, spec, None
    for steps, sigmas in STEPS.items():
        yield f"{steps} steps", UNET, Consistency(sigmas, "image")


MATRIX = [
    pytest.param(spec, sampler, to, id=f"{name}-{to}", marks=() if name in QUICK else pytest.mark.soak)
    for name, spec, sampler in models()
    for to in NEEDED
]


def exported(spec, sampler, to, precision, tmp_path):
    """The file and its own row of figures, with the largest value of the answer."""
    for package in NEEDED[to]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{to} needs the package {package}, of an extra")
    restorer = drawn(spec)
    restorer = dataclasses.replace(restorer, sampler=sampler) if sampler else restorer
    side = SIDE[restorer.scale]
    written = export(restorer, Recipe(to, ((side, side),), precision), tmp_path / f"net{SUFFIXES[to]}")
    ((_, graph),) = written.graphs.items()
    largest = max(float(np.abs(graph(**one)).max()) for one in cases(graph).values())
    (row,) = written.check()
    return row, largest


@pytest.mark.parametrize(("spec", "sampler", "to"), MATRIX)
def test_float32(spec, sampler, to, tmp_path):
    row, largest = exported(spec, sampler, to, "fp32", tmp_path)
    assert row["max_diff"] / largest <= 1e-5


@pytest.mark.parametrize("precision", ["fp16", "int8-weights"])
@pytest.mark.parametrize(("spec", "sampler", "to"), [one for one in MATRIX if one.values[2] in ("tflite", "coreml")])
def test_fewer_bits(spec, sampler, to, precision, tmp_path):
    row, largest = exported(spec, sampler, to, precision, tmp_path)
    assert (
        row["psnr_to_fp32"] is None
        or row["psnr_to_fp32"] + 20 * np.log10(largest) >= {"fp16": 55, "int8-weights": 42}[precision]
    )
