"""Prints PSNR and SSIM of a run or a model: on standard sets, on a run's held-out photographs, or by a protocol.

    restore-jax evaluate MODEL --data FOLDER --set Set5 Set14 --degradation bicubic-x4 -o OUT

MODEL may be `bicubic`, the cubic interpolation that every model is compared with. OUT gets a row a picture and a row a
set (`evaluate.sheet`); the same command goes on where it was stopped.
"""

import argparse
from pathlib import Path
from typing import Any

from restore_jax.cli.arguments import config, model, the_model, tiles

BICUBIC = "bicubic"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    model(parser)
    parser.add_argument("--protocol", metavar="FILE[:WHICH]", help="get_config(WHICH): configs/protocols/x4.py:Set5")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the standard sets lie")
    parser.add_argument(
        "--set",
        nargs="+",
        metavar="SET",
        default=[],
        help="Set5, Set14, BSD100, CBSD68, Urban100, Kodak24, McMaster, DIV2K, LIVE1, classic5, SIDD, GoPro, RealSR",
    )
    parser.add_argument(
        "--degradation",
        nargs="+",
        default=[""],
        help="bicubic-x2, -x3, -x4, noise-15, -25, -50, jpeg-10, -20, -30, -40; stored for SIDD, GoPro and RealSR",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    parser.add_argument("--name", help="what tables call the model (its folder's name)")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="the folder for pictures.csv and results.json")
    tiles(parser)


def run(args: argparse.Namespace) -> None:
    """Measures."""
    if args.set or args.data:
        _on_sets(args)
        return
    if args.output or args.degradation != [""]:
        raise ValueError("--output and --degradation go with --data FOLDER --set NAME.")
    from restore_jax.evaluate.run import evaluate
    from restore_jax.infer.load import load
    from restore_jax.infer.restoration import TILE_PX, tiled

    restorer = tiled(load(the_model(args)), args.tile or TILE_PX, args.overlap)
    rows = evaluate(restorer, _protocol(args, restorer.scale))
    for row in rows:
        print("{photograph:<20} {psnr:7.3f} dB  SSIM {ssim:.4f}".format(**row))
    print("protocol {protocol}, weights {weights}".format(**rows[-1]))


def _on_sets(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from restore_jax.data.sets.standard import SETS
    from restore_jax.evaluate.sheet import Column, measure
    from restore_jax.evaluate.standard import standard
    from restore_jax.infer.tile import Tile

    if not (args.set and args.data and args.output) or args.protocol:
        raise ValueError("give all of --data FOLDER, --set NAME and --output OUT, and no --protocol.")
    data = str(args.data)
    columns = [Column(s, d or "stored", standard(s, d, data, args.seed)) for s in args.set for d in args.degradation]
    restorer = Tile(_restorer(str(the_model(args)), columns[0].protocol), args.tile, args.overlap)
    for column in columns:
        count, whole = len(column.protocol.cases), SETS[column.set].photographs
        print(f"{column.set} {column.degradation}: {column.protocol.convention}")
        if count != whole:
            print(f"    {count} photographs, and the set has {whole}: these are numbers of a part of it")
    name = args.name or Path(the_model(args)).name
    total = sum(len(column.protocol.cases) for column in columns)
    with tqdm(desc=f"evaluate {name}", unit="picture", total=total) as bar:
        rows = measure(restorer, name, columns, args.output, bar.update)
    for row in rows:
        print(
            "{set:<10} {degradation:<11} {psnr:7.3f} dB  SSIM {ssim:.4f}  ".format(**row)
            + "  ".join(f"{name} {row[name]:.4f}" for name in ("perceptual", "niqe") if row[name] is not None)
            + "  {s_per_mp:.2f} s/MP  protocol {protocol}, pictures {pictures}, weights {weights}".format(**row)
        )
    print(f"{args.output}: pictures.csv, pictures.jsonl, results.json")


def _restorer(path: str, protocol: Any) -> Any:
    from restore_jax.infer.load import load
    from restore_jax.methods.regression import Cubic

    if path != BICUBIC or Path(path).exists():
        return load(path)
    _, obs, x = protocol.cases[0]
    return Cubic(x.shape[0] // obs.y.shape[0])


def _protocol(args: argparse.Namespace, scale: int) -> Any:
    """The protocol that was asked for; else the run's own, or for an enlarging model the embedded photographs."""
    from restore_jax.evaluate.protocol import Protocol
    from restore_jax.methods.model import is_model
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
