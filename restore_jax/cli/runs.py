"""Lists the training runs below a folder, or compares two of them.

restore-jax runs outputs
restore-jax runs --compare outputs/regression outputs/diffusion
restore-jax runs outputs --metric loss --lowest --json
"""

import argparse
import json
from pathlib import Path
from typing import Any

COLUMNS = ("label", "state", "images", "loss", "best", "images/s", "commit", "path")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("."), help="runs are looked for here and below")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"), help="two workdirs: what differs")
    parser.add_argument("--metric", default="heldout_psnr", help="what `best` is of (heldout_psnr)")
    parser.add_argument("--lowest", action="store_true", help="the lowest is best")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(args: argparse.Namespace) -> None:
    """Prints the table, or the comparison."""
    from restore_jax.train.record import beside, difference, is_run, runs, summary

    highest = not args.lowest
    if args.compare:
        for one in args.compare:
            if not is_run(one):
                raise ValueError(
                    f"{one} is no workdir of a training run: there is no config.json with a log beside it."
                )
        found = [summary(one, args.metric, highest) for one in args.compare]
        fields, logged = difference(*args.compare), beside(*args.compare)
        if args.json:
            print(json.dumps({"runs": found, "config": fields, "logged": logged}, indent=1))
            return
        print(aligned([COLUMNS, *map(cells, found)]))
        print(aligned([("config", "A", "B"), *((name, text(a), text(b)) for name, (a, b) in fields.items())]))
        print(aligned([("last logged", "A", "B"), *((row["name"], text(row["a"]), text(row["b"])) for row in logged)]))
        return
    found = runs(args.folder, args.metric, highest)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    if not found:
        raise ValueError(f"{args.folder} holds no training runs: give a folder with workdirs in it.")
    print(aligned([COLUMNS, *map(cells, found)]))


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A run as a row of the table."""
    done = f"{row['images']:,}/{row['of']:,}"
    numbers = (text(row["loss"]), text(row["best"]), text(row["images_per_s"]))
    return (row["label"], row["state"], done, *numbers, text(row["commit"]), row["path"])


def text(value: Any) -> str:
    """A value in a cell; a dash where there is none."""
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows of cells in columns, an empty line after them."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows) + "\n"
