"""Prints PSNR and SSIM of a run or a model: on a run's held-out photographs, or by a protocol."""

import argparse
from pathlib import Path
from typing import Any

from restore_jax.cli.arguments import config, model, the_model, tiles


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    model(parser)
    parser.add_argument("--protocol", metavar="FILE[:WHICH]", help="get_config(WHICH): configs/protocols/x4.py:Set5")
    tiles(parser)


def run(args: argparse.Namespace) -> None:
    """Measures."""
    from restore_jax.evaluate.run import evaluate
    from restore_jax.infer.load import load
    from restore_jax.infer.restoration import TILE_PX, tiled

    restorer = tiled(load(the_model(args)), args.tile or TILE_PX, args.overlap)
    rows = evaluate(restorer, _protocol(args, restorer.scale))
    for row in rows:
        print("{photograph:<20} {psnr:7.3f} dB  SSIM {ssim:.4f}".format(**row))
    print("protocol {protocol}, weights {weights}".format(**rows[-1]))


def _protocol(args: argparse.Namespace, scale: int) -> Any:
    """The protocol that was asked for; else the run's own, or for an enlarging model the embedded photographs."""
    from restore_jax.evaluate.protocol import Protocol
    from restore_jax.infer.model import is_model
    from restore_jax.train.checkpoint import read

    if args.protocol:
        path, _, which = args.protocol.partition(":")
        return Protocol(**config(Path(path), *([which] if which else [])))
    if not is_model(args.model):
        run_config, _, _ = read(args.model)
        photographs = run_config["heldout_set"] or run_config["train_set"]
        return Protocol(photographs, run_config["degrade"], multiple=scale)
    if scale == 1:
        raise ValueError("a model that does not enlarge is measured by a --protocol: configs/protocols/denoise.py:25.")
    downsample = {"name": "degrade.downsample.Downsample", "scale": scale}
    embedded = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
    return Protocol(embedded, downsample, multiple=scale, border_px=scale, color="luma")
