"""Measures the runs of `configs/ablations/few_step` on held-out photographs: the table, and one picture.

    python -m experiments.few_step --workdir outputs/few_step

Writes results/few_step.json, WORKDIR/table.md and WORKDIR/few_step.png. What was measured is kept in
WORKDIR/<run>/measured.json, so that a table of more runs costs only those.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from benchmarks.record import record
from configs.ablations import few_step
from restore_jax.core import Observation
from restore_jax.cpu import prepare
from restore_jax.evaluate.figure import panels
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import METRICS, evaluate
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.photo.write import write

TILE_PX, OVERLAP_PX = 128, 24  # of y; x_hat is twice that
FIGURES = ("psnr", "ssim", "perceptual")
TOLERANCE_DB, TOLERANCE_PERCEPTUAL = 0.3, 0.10


def protocol() -> Protocol:
    """The held-out photographs under the degradation of training."""
    config = few_step.get_config()
    return Protocol(photographs=config.heldout_set.to_dict(), degrade=config.degrade.to_dict())


def measured(workdir: Path, run: str, sampler: dict[str, Any], held: Protocol, metrics: dict) -> dict[str, Any]:
    """The mean figures of one run through one sampler, and how many evaluations that takes."""
    page = workdir / run / "measured.json"
    known = json.loads(page.read_text()) if page.exists() else {}
    name = json.dumps([sampler, held.stamp()["hash"], sorted(metrics)], sort_keys=True)
    if name not in known:
        restorer = load(workdir / run, sampler)
        tiled = Tile(restorer, TILE_PX, OVERLAP_PX, batch=1)
        row = evaluate(tiled, held, metrics)[-1]
        known[name] = {"nfe": restorer.nfe, **{figure: row[figure] for figure in FIGURES}}
        partial = page.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1))
        os.replace(partial, page)
        jax.clear_caches()
    return known[name]


def seconds(workdir: Path, name: str, seed: int) -> float:
    """Of training, with the runs it started from."""
    total, run = 0.0, name
    while run:
        total += json.loads((workdir / f"{run}-{seed}" / "seconds.json").read_text())["seconds"]
        run = few_step.RUNS[run][2]
    return round(total, 1)


def rows(workdir: Path, held: Protocol) -> list[dict[str, Any]]:
    """One row for each run, sampler and seed that is there."""
    metrics = METRICS | {"perceptual": Perceptual()}
    bicubic = evaluate(Tile(Cubic(2), TILE_PX, OVERLAP_PX, batch=1), held, metrics)[-1]
    found = [{"name": "bicubic", "nfe": 0, **{f: bicubic[f] for f in FIGURES}, "seed": None, "budget_s": 0.0}]
    todo = [
        (name, run, sampler, seed)
        for name, samplers in few_step.ROWS.items()
        for run, sampler in samplers
        for seed in few_step.SEEDS
        if (workdir / f"{run}-{seed}" / "done").exists()
    ]
    for name, run, sampler, seed in tqdm(todo, desc="measure", unit="row"):
        figures = measured(workdir, f"{run}-{seed}", sampler, held, metrics)
        found.append({"name": name, **figures, "seed": seed, "budget_s": seconds(workdir, run, seed)})
    return found


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means and standard deviations over seeds."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in found:
        groups.setdefault((row["name"], row["nfe"]), []).append(row)
    lines = []
    for (name, nfe), group in groups.items():
        line: dict[str, Any] = {"name": name, "nfe": nfe, "seeds": len(group)}
        for figure in (*FIGURES, "budget_s"):
            values = [row[figure] for row in group]
            line[figure], line[f"{figure}_std"] = float(np.mean(values)), float(np.std(values, ddof=len(values) > 1))
        lines.append(line)
    return lines


def reaches(lines: list[dict[str, Any]]) -> list[str]:
    """The methods of 1 or 2 evaluations that come as near to the teacher as the tolerances say."""
    (teacher,) = (line for line in lines if line["name"] == "teacher" and line["nfe"] > 2)
    near = [
        line
        for line in lines
        if line["nfe"] in (1, 2)
        and line["name"] not in ("regression", "teacher")
        and line["psnr"] >= teacher["psnr"] - TOLERANCE_DB
        and line["perceptual"] <= teacher["perceptual"] * (1 + TOLERANCE_PERCEPTUAL)
    ]
    return [f"{line['name']} ({line['nfe']})" for line in near]


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: mean and deviation over seeds."""
    said = [
        "| | evaluations | PSNR, dB | SSIM | perceptual | training, s | seeds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        psnr, ssim, perceptual = (
            f"{line[f]:.{digits}f} ± {line[f'{f}_std']:.{digits}f}" for f, digits in zip(FIGURES, (2, 4, 4))
        )
        said.append(
            f"| {line['name']} | {line['nfe']} | {psnr} | {ssim} | {perceptual} | {line['budget_s']:.0f}"
            f" | {line['seeds']} |"
        )
    return "\n".join(said)


def picture(workdir: Path, held: Protocol, lines: list[dict[str, Any]]) -> np.ndarray:
    """A detail of one photograph by each row of the first seed, with the row's figures."""
    _, obs, x = held.cases[1]
    top, left, side = 96, 300, 160

    def cut(a: Any, ratio: int) -> np.ndarray:
        return np.asarray(a)[top // ratio :, left // ratio :][: side // ratio, : side // ratio]

    shown = {"observed\n": cut(obs.y, 2)}
    for name, samplers in few_step.ROWS.items():
        for run, sampler in samplers:
            path = workdir / f"{run}-{few_step.SEEDS[0]}"
            if not (path / "done").exists():
                continue
            restorer = load(path, sampler)
            (line,) = (one for one in lines if (one["name"], one["nfe"]) == (name, restorer.nfe))
            tiled = Tile(restorer, TILE_PX, OVERLAP_PX, batch=1)
            x_hat = tiled(jax.random.key(0), Observation(y=np.asarray(obs.y)[None]))[0]
            label = f"{name}, {restorer.nfe}\n{line['psnr']:.2f} dB, perceptual {line['perceptual']:.4f}"
            shown[label] = held.compared(cut(x_hat, 1))
            jax.clear_caches()
    shown["original\n"] = cut(x, 1)
    return panels(
        shown, "Restored in few evaluations, seed 0 (figures: all held-out photographs)", columns=5, width_px=320
    )


def main() -> int:
    """0 when the table stands."""
    parser = argparse.ArgumentParser(prog="python -m experiments.few_step", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="where experiments.sweep has trained")
    args = parser.parse_args()
    prepare()
    held = protocol()
    found = rows(args.workdir, held)
    if not any(row["name"] == "teacher" for row in found):
        print(f"few_step: no complete teacher in {args.workdir}: run experiments.sweep first.", file=sys.stderr)
        return 1
    lines = summary(found)
    text = table(lines)
    near = reaches(lines)
    text += (
        f"\n\nWithin {TOLERANCE_DB} dB of the 18-step teacher's PSNR and within {TOLERANCE_PERCEPTUAL:.0%} of its"
        f" perceptual distance: {', '.join(near) or 'none'}.\n"
    )
    (args.workdir / "table.md").write_text(text)
    write(args.workdir / "few_step.png", picture(args.workdir, held, lines))
    print(text)
    stamp = held.stamp()
    said = f"whole held-out photographs, RGB, 8 bits, tiled {TILE_PX}/{OVERLAP_PX}; protocol {stamp['hash']}"
    record("few_step", {"rows": found, "reaches_teacher": near}, said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
