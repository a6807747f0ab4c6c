"""Lists the models of a folder, the shipped ones by default: task, size, licence, figures."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("folder", type=Path, nargs="?", help="a folder of models; those of the package by default")


def run(args: argparse.Namespace) -> None:
    """Lists."""
    from restore_jax import zoo
    from restore_jax.methods.model import read_model

    folder = args.folder or zoo.FOLDER
    names = zoo.names(folder)
    if not names:
        print(f"{folder} holds no models: `restore-jax import` and `restore-jax pack` make them.")
    for name in names:
        model = read_model(folder / name)
        size = (folder / name / "params.safetensors").stat().st_size / 1e6
        licence = model.provenance.get("licence", "unknown")
        architecture = model.architecture.rpartition(".")[2]
        print(
            f"{name:<18} {model.task or '-':<8} x{model.scale}  {architecture:<10} "
            f"{model.parameters:>9,} parameters {size:5.1f} MB  {licence}"
        )
        for figure, value in model.figures.items():
            print(f"    {figure}: {value:g}")
