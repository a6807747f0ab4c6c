"""Writes a model as one file for phones or servers, and on request runs the file beside JAX.

restore-jax export MODEL --to tflite --size 256x256,512x512 --precision fp16 -o net.tflite --check
"""

import argparse
from pathlib import Path

from restore_jax.cli.arguments import model, the_model

FORMATS = ("tflite", "coreml", "onnx", "stablehlo")
PRECISIONS = ("fp32", "fp16", "int8-dynamic", "int8-weights", "int8-static", "int16x8", "palette8")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    model(parser)
    parser.add_argument("--to", choices=FORMATS, default="tflite")
    parser.add_argument("--size", default="256x256", metavar="HxW[,HxW]", help="of y; several share their weights")
    parser.add_argument("--steps", type=int, help="of the sampler, for few-step models; the model's own by default")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--uint8", action="store_true", help="pictures of 8 bits in and out")
    parser.add_argument("--calibrate", metavar="FOLDER", help="photographs to choose 8 bits by; else the embedded ones")
    parser.add_argument("--least-db", type=float, metavar="DB", help="of PSNR to float32: 16 bits where 8 lose more")
    parser.add_argument(
        "--keep-float32",
        metavar="OP[,OP]",
        help="of Core ML, types of operations or arrays; else what overflows on photographs; '' for nothing",
    )
    parser.add_argument("--check", action="store_true", help="run the file beside JAX, a row of JSON for each size")
    parser.add_argument("-o", "--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Exports."""
    import json

    from restore_jax.export.exporter import Recipe, described, export, sizes, stepped
    from restore_jax.infer.load import load

    looks = args.precision.startswith("int") or (args.to == "coreml" and args.precision != "fp32")
    if args.calibrate and not looks:
        raise ValueError(
            f"--calibrate goes with precisions that look at photographs, not {args.precision} in {args.to}."
        )
    keep = None if args.keep_float32 is None else tuple(name for name in args.keep_float32.split(",") if name)
    recipe = Recipe(args.to, sizes(args.size), args.precision, args.uint8, args.calibrate, keep, args.least_db)
    restorer = load(the_model(args))
    if args.steps is not None:
        restorer = stepped(restorer, args.steps)
    written = export(restorer, recipe, args.output, described(args.model))
    for name, graph in written.graphs.items():
        inputs = ", ".join(f"{of} {spec.shape}" for of, spec in graph.inputs.items())
        print(f"{args.output}: {name}: {inputs} -> {graph.output}, {written.bytes} bytes")
    if written.halves:
        print(f"{args.output}: 16 bits in {', '.join(written.halves)}")
    if written.kept:
        print(f"{args.output}: 32 bits around {len(written.kept)} arrays, {written.kept[0]} the first")
    rows = written.check() if args.check else []
    for row in rows:
        print(json.dumps(row))
    if any(row["agrees"] is False for row in rows):
        raise ValueError(f"{args.output} does not agree with JAX; the row above says by how much and where.")
