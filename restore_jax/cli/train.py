"""Trains the `get_config()` of a config file, or goes on with it."""

import argparse
from pathlib import Path

from restore_jax.cli.arguments import config


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("config", type=Path, help="a Python file with get_config()")
    parser.add_argument("--workdir", required=True)


def run(args: argparse.Namespace) -> None:
    """Trains."""
    from restore_jax.train.loop import Interrupted, train

    try:
        train(config(args.config), args.workdir)
    except Interrupted as stopped:
        print(stopped.message)
