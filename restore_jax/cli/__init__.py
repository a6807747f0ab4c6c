"""The command `restore-jax`: each subcommand a little glue around what the library does.

    restore-jax COMMAND --help

A command is a file of this folder: `arguments(parser)` declares what it takes, `run(args)` does it, and the first line
of the file's docstring is its help. Command files import what they run inside `run`, so that `--help` answers at once.
"""

import argparse
import importlib
import pkgutil
import sys

from restore_jax.cpu import prepare


def commands() -> dict[str, str]:
    """Every command and the module that it is: the files of this folder that have a `run`."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if info.name not in ("__main__", "arguments")]
    return {name.rstrip("_"): f"{__name__}.{name}" for name in names}


def parser() -> argparse.ArgumentParser:
    """What understands the command line."""
    whole = argparse.ArgumentParser(prog="restore-jax", description="Generative image restoration in JAX.")
    each = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, path in commands().items():
        module = importlib.import_module(path)
        about = (module.__doc__ or "").strip()
        one = each.add_parser(
            name,
            help=about.splitlines()[0],
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(one)
        one.set_defaults(run=module.run)
    return whole


def main(argv: list[str] | None = None) -> int:
    """Runs a subcommand; what a user can mend ends in one line on stderr and status 1."""
    args = parser().parse_args(argv)
    prepare()
    try:
        args.run(args)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"restore-jax: {error}", file=sys.stderr)
        return 1
    return 0
