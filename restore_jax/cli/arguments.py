"""Arguments that several commands take, and what they mean."""

import argparse
import importlib.util
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any


def model(parser: argparse.ArgumentParser) -> None:
    """`MODEL` or `--model MODEL`: the workdir of a run, or an imported model."""
    about: Any = {"metavar": "MODEL", "default": argparse.SUPPRESS}  # by place or by name: what is absent sets nothing
    parser.add_argument("model", nargs="?", help="a shipped model, the workdir of a run, or an imported model", **about)
    parser.add_argument("--model", dest="model", help="the same, by name", **about)


def the_model(args: argparse.Namespace) -> Any:
    """The model that was given by place or by name."""
    if "model" not in args:
        raise ValueError("give a model: a shipped one by its name, the workdir of a run, or the folder of an import.")
    return args.model


def tiles(parser: Any) -> None:
    """`--tile` and `--overlap`; without them tiles fit the picture and the memory, and overlap as far as a net sees."""
    parser.add_argument("--tile", type=int, help="side of a tile, in pixels of the input (what fits)")
    parser.add_argument("--overlap", type=int, help="overlap of tiles, in pixels of the input (what the net sees)")


def level(text: str) -> float:
    """A noise level, as a number or a fraction: 25/255."""
    return float(Fraction(text))


def config(path: Path, *which: str) -> Any:
    """What the `get_config` of a Python file answers."""
    spec = importlib.util.spec_from_file_location("config", path)
    if spec is None or spec.loader is None or not path.exists():
        raise ValueError(f"{path} is not a Python file with get_config().")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path.cwd()))  # configs share fragments, from the folder they are started in
    spec.loader.exec_module(module)
    return module.get_config(*which)
