"""Trains the `get_config()` of a config file, or goes on with it."""

import argparse
from pathlib import Path

from restore_jax.cli.arguments import config


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("config", type=Path, help="a Python file with get_config()")
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="trace N dispatches into WORKDIR/profile")
    parser.add_argument("--migrate", action="store_true", help="take what fits of a checkpoint of another layout")


def run(args: argparse.Namespace) -> None:
    """Trains."""
    from restore_jax.train import processes

    processes.start()
    from restore_jax.train.loop import train
    from restore_jax.train.stop import Interrupted

    try:
        train(config(args.config), args.workdir, profile=args.profile, migrate=args.migrate)
    except Interrupted as stopped:
        print(stopped.message)
