"""Writes a run's restorer as one graph; for TFLite, checks the file against JAX."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore_jax.cli.arguments import model, the_model


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    model(parser)
    parser.add_argument("--to", choices=("tflite", "coreml", "stablehlo"), default="tflite")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("H", "W"), help="of the input")
    parser.add_argument("-o", "--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Exports."""
    from restore_jax.export.graph import restorer_graph
    from restore_jax.infer.load import load

    graph = restorer_graph(load(the_model(args)), *args.size)
    _writer(args.to)(graph, args.output)
    inputs = ", ".join(f"{name} {spec.shape}" for name, spec in graph.inputs.items())
    print(f"{args.output}: {inputs} -> {graph.output}")


def _writer(to: str) -> Callable[[Any, Path], Path]:
    from restore_jax.export import coreml, stablehlo, tflite

    return {"tflite": tflite.to_tflite, "coreml": coreml.to_coreml, "stablehlo": stablehlo.to_stablehlo}[to]
