"""Makes a model of a training run: its averaged parameters, with their provenance."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("workdir", type=Path, help="of the training run")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="the folder to write")
    parser.add_argument(
        "--task", default="", help="what it mends: photo, denoise, sr2, sr4, photo-sr4, deblur, jpeg, inpaint"
    )
    parser.add_argument("--licence", default="unknown", help="under which the parameters may be used")
    parser.add_argument("--source", default="unknown", help="the photographs that it was trained on")
    parser.add_argument("--credits", default="", help="whom to thank for them")
    parser.add_argument("--half", action="store_true", help="half the bytes: numbers rounded to float16")


def run(args: argparse.Namespace) -> None:
    """Packs."""
    from restore_jax.infer.pack import pack
    from restore_jax.methods.model import write_model

    model = pack(args.workdir, args.task, args.licence, args.source, args.credits)
    write_model(args.output, model, args.half)
    print(f"{args.output}: {model.architecture}, {model.parameters} parameters, scale {model.scale}")
    print("{images} images of {crop_px} pixels, {seconds} s on {devices}, commit {commit}".format(**model.provenance))
