"""Turns published weights (.pth, .safetensors, ncnn's .param) into a model, and says what they were."""

import argparse
import dataclasses
from pathlib import Path

from restore_jax.cli.arguments import level


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="published weights: .pth, .safetensors, ncnn's .param")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="the folder to write")
    parser.add_argument("--licence", default="unknown", help="of the weights, as their authors give it")
    parser.add_argument("--source", default="unknown", help="where the file was found")
    parser.add_argument(
        "--task", default="", help="what it mends: photo, denoise, sr2, sr4, photo-sr4, deblur, jpeg, inpaint"
    )
    parser.add_argument("--sigma", type=level, help="for a net that is told the noise level: 25/255, or 0.098")


def run(args: argparse.Namespace) -> None:
    """Imports."""
    from restore_jax.methods.model import read_weights, write_model

    model = dataclasses.replace(read_weights(args.file, args.sigma, args.licence, args.source), task=args.task)
    write_model(args.output, model)
    print(f"{args.output}: {model.architecture}, {model.parameters} parameters, scale {model.scale}")
    print("from {file} (sha256 {sha256}), source: {source}, licence: {licence}".format(**model.provenance))
