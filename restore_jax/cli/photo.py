"""Restores photographs, one by one; a bad file is named and the others go on."""

import argparse
import sys
from pathlib import Path

from restore_jax.cli.arguments import tiles


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a file, or a folder for several")
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="the workdir of a run, or an imported model"
    )
    parser.add_argument("--seed", type=int, default=0)
    tiles(parser)


def run(args: argparse.Namespace) -> None:
    """Restores them."""
    import jax
    import numpy as np
    from tqdm import tqdm

    from restore_jax.core import Observation
    from restore_jax.infer.load import load
    from restore_jax.infer.tile import Tile
    from restore_jax.photo.read import PhotoError, read
    from restore_jax.photo.write import write

    restorer = Tile(load(args.model), args.tile, args.overlap)
    folder = len(args.inputs) > 1 or args.output.is_dir()
    if folder:
        args.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in tqdm(args.inputs, desc="photo", unit="photo"):
        try:
            y = read(path).astype(np.float32) / 255
            x_hat = restorer(jax.random.key(args.seed), Observation(y=y))
            write(args.output / f"{path.stem}.png" if folder else args.output, x_hat)
        except PhotoError as error:
            tqdm.write(str(error), file=sys.stderr)
            failed += 1
    if failed:
        raise SystemExit(f"{failed} of {len(args.inputs)} photographs could not be restored.")
