"""The page of results, docs/results.md, and its plots, from the rows of results/zoo.json.

    restore-jax evaluate MODEL --data FOLDER --set Set5 --degradation bicubic-x4 -o OUT
    python -m experiments.results --add OUT/results.json      # these rows, in place of older ones of the same name
    python -m experiments.results                             # the page anew

A set under a degradation is a table, its models by PSNR, and a picture: distortion against perception, quality against
time and against size. Rows of one table have one protocol and the same pixels, or nothing is written.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from experiments.scatter import Panel, svg

ROOT = Path(__file__).parents[1]
ROWS, PAGE, PICTURES = Path("results/zoo.json"), Path("docs/results.md"), Path("docs/pictures")
Row = dict[str, Any]
KEPT = ("model", "set", "degradation", "psnr", "ssim", "perceptual", "niqe", "nfe", "params", "bytes", "s_per_mp")
STAMPS = ("count", "protocol", "pictures", "weights", "commit")

HEAD = """# Results

Made by `python -m experiments.results` from [`results/zoo.json`](../results/zoo.json), which holds what
`restore-jax evaluate MODEL --data FOLDER --set SET --degradation DEGRADATION -o OUT` wrote; do not edit this page.

PSNR (dB) and SSIM as the protocol compares, range 1; `perceptual` is `metrics.perceptual`, `NIQE` our fit of it, both
of RGB without the border: lower is better, and neither compares with numbers from elsewhere. Evaluations of the
network, parameters and their megabytes; seconds for a megapixel of output, warm. The hashes say how the numbers
were made, of which pixels, by which weights. The plots leave out what has no parameters where there are models to see.
"""


def page(results: dict[str, Any]) -> dict[str, str]:
    """The page and its pictures, by their paths below the repository.

    Raises:
        ValueError: rows of one table that do not compare, or one model twice; a row without its fields.
    """
    files, text = {}, [HEAD]
    if results.get("note"):
        text.append(results["note"] + "\n")
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in results["rows"]:
        if absent := [name for name in (*KEPT, "protocol", "commit") if name not in row]:
            raise ValueError(f"a row of {row.get('model')} lacks {', '.join(absent)}.")
        tables.setdefault((row["degradation"], row["set"]), []).append(row)
    for (degradation, name), rows in sorted(tables.items()):
        _check(f"{name}, {degradation}", rows)
        rows = sorted(rows, key=lambda row: -row["psnr"])
        picture = PICTURES / f"results_{name}_{degradation}.svg"
        files[str(picture)] = svg(_panels(rows))
        text.append(f"## {name}, {degradation}\n")
        text.append(_table(rows))
        text.append(f"\n{_stamp(rows)}\n")
        text.append(f"![{name}, {degradation}](pictures/{picture.name})\n")
    return {str(PAGE): "\n".join(text), **files}


def add(results: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """The results with these rows, in place of the same models' on the same sets."""
    place = lambda row: (row["model"], row["set"], row["degradation"])  # noqa: E731
    named = {place(row): row for row in results.get("rows", [])}
    named |= {place(row): {name: row.get(name) for name in (*KEPT, *STAMPS)} for row in rows}
    return {**results, "rows": [named[key] for key in sorted(named, key=lambda key: (key[2], key[1], key[0]))]}


def _check(where: str, rows: list[Row]) -> None:
    for field in ("protocol", "pictures"):
        found = {row["model"]: row.get(field) for row in rows}
        if len(found) < len(rows):
            raise ValueError(f"{where}: a model stands twice in results/zoo.json.")
        if len(set(found.values())) > 1:
            raise ValueError(f"{where}: the rows are not of one {field}: {found}. Measure them alike.")


def _table(rows: list[Row]) -> str:
    head = "| model | evaluations | parameters | MB | PSNR | SSIM | perceptual | NIQE | s / MP |"
    lines = [head, "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        cells = [
            row["model"],
            "" if row["nfe"] is None else str(row["nfe"]),
            f"{row['params']:,}",
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['psnr']:.3f}",
            f"{row['ssim']:.4f}",
            *("" if row[name] is None else f"{row[name]:.3f}" for name in ("perceptual", "niqe")),
            f"{row['s_per_mp']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _stamp(rows: list[Row]) -> str:
    first = rows[0]
    commits = ", ".join(sorted({row["commit"] or "none" for row in rows}))
    weights = ", ".join(f"{row['model']} {row['weights']}" for row in rows if row.get("weights"))
    said = f"{first['count']} pictures {first['pictures']}, " if first.get("count") else ""
    return f"Protocol {first['protocol']}, {said}commit {commits}.{f' Weights: {weights}.' if weights else ''}"


def _panels(rows: list[Row]) -> list[Panel]:
    learned = [row for row in rows if row["params"]]
    rows = learned if len(learned) > 1 else rows  # an interpolation far below would leave the models one corner
    plane = [(row["model"], row["psnr"], row["perceptual"]) for row in rows if row["perceptual"] is not None]
    timed = [(row["model"], row["s_per_mp"], row["psnr"]) for row in rows if row["s_per_mp"] > 0]
    sized = [(row["model"], row["bytes"] / 1e6, row["psnr"]) for row in rows if row["bytes"] > 0]
    asked = [(row["model"], row["nfe"], row["perceptual"]) for row in rows if row["perceptual"] and row["nfe"]]
    asked = asked if any((row["nfe"] or 0) > 1 for row in rows) else []  # else all lie above one another
    panels = [
        Panel("Distortion and perception", "PSNR, dB (right is better)", "perceptual (below is better)", plane),
        Panel("Quality and time", "s / MP", "PSNR, dB", timed, log=True),
        Panel("Quality and size", "MB", "PSNR, dB", sized, log=True),
        Panel("Perception and evaluations", "evaluations of the network", "perceptual", asked, log=True),
    ]
    return [panel for panel in panels if panel.points]


def write(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)


def publish(root: Path, files: dict[str, str]) -> None:
    """Writes files by their paths below `root`, and says which."""
    for name, text in files.items():
        write(root / name, text)
    print("\n".join(files))


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Writes the page; 1 with the reason where it cannot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FILE", help="results.json of an evaluation")
    args = parser.parse_args(argv)
    path = root / ROWS
    try:
        results = json.loads(path.read_text()) if path.exists() else {"rows": []}
        for file in args.add:
            results = add(results, json.loads(file.read_text())["rows"])
        files = page(results)
    except (OSError, ValueError, KeyError) as error:
        print(f"results: {error}", file=sys.stderr)
        return 1
    if args.add:
        rows = ",\n".join("  " + json.dumps(row) for row in results["rows"])
        head = "".join(f" {json.dumps(k)}: {json.dumps(v)},\n" for k, v in results.items() if k != "rows")
        write(path, f'{{\n{head} "rows": [\n{rows}\n ]\n}}\n')
    publish(root, files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
