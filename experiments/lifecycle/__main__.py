"""The whole life of a model, in one command and about a quarter of an hour on two CPU cores.

    python -m experiments.lifecycle [--out outputs/lifecycle] [--quick]

    1  train a diffusion teacher          configs/diffusion.py
    2  distil it to 1-2 evaluations       configs/consistency.py
    3  train a regression net             configs/regression.py, the same backbone
    4  measure all on held-out photographs
    5  restore a whole photograph, tile by tile
    6  export the students for phones, and check that the files compute the same
    7  report.json, report.md, comparison.png

Every stage resumes: training from its checkpoints, the others from their finished parts in OUT/stages.
`--quick` runs every line of it in a minute or two, on a net too small and too little trained to be of use.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from configs import consistency, diffusion, regression
from restore_jax.core import Observation
from restore_jax.cpu import model, prepare
from restore_jax.evaluate.figure import panels
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate
from restore_jax.evaluate.speed import s_per_mp
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic
from restore_jax.photo.write import write
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.loop import train
from restore_jax.train.stop import Interrupted

STUDENT_1 = {"name": "diffusion.sampler.Consistency", "sigmas": (1.0,), "start": "image"}
TILE_PX, OVERLAP_PX = 128, 24  # of y; x_hat is twice that


class Lifecycle:
    """The stages, each a method; what a stage computed once is read back on the next run."""

    def __init__(self, out: Path, quick: bool):
        self.out, self.quick = out, quick
        self.configs = {c.label: c for c in (diffusion.get_config(), consistency.get_config(), regression.get_config())}
        self.configs["consistency"].start = str(out / "diffusion")
        if quick:
            for config in self.configs.values():
                config.update(images=64, batch_size=8, crop_px=32, log_every_images=32, preview_every_images=64)
                config.method.net.update(width=8, multipliers=(1, 1))
                config.optim.warmup_images = 0
        teacher = self.configs["diffusion"]
        self.protocol = Protocol(photographs=teacher.heldout_set.to_dict(), degrade=teacher.degrade.to_dict())

    def train(self) -> None:
        """Stages 1 to 3."""
        for k, (label, config) in enumerate(self.configs.items(), 1):
            print(f"[{k}/7] {label}: {config.images:,} crops of {config.crop_px} px", flush=True)
            train(config, self.out / label)

    def restorers(self) -> dict[str, Tile]:
        """The rows of the table, each tiled: one compiled program a row, whatever the photograph."""
        restorers = {
            "bicubic": Cubic(scale=2),
            "regression": load(self.out / "regression"),
            "teacher": load(self.out / "diffusion"),
            "student-1": load(self.out / "consistency", STUDENT_1),
            "student-2": load(self.out / "consistency"),
        }
        return {name: Tile(restorer, TILE_PX, OVERLAP_PX, batch=1) for name, restorer in restorers.items()}

    def measure(self, restorers: dict[str, Tile]) -> list[dict[str, Any]]:
        """Stage 4: one row a restorer, whole held-out photographs, tiled; and its speed on one tile."""
        print("[4/7] measure on held-out photographs", flush=True)
        y = np.asarray(self.protocol.cases[0][1].y)[:TILE_PX, :TILE_PX]
        rows = []
        for name, restorer in restorers.items():

            def row(name: str = name, restorer: Tile = restorer) -> dict[str, Any]:
                with tqdm(desc=f"  {name}", unit="photo", total=len(self.protocol.cases)) as bar:
                    per_photo = evaluate(restorer, self.protocol, progress=lambda done, total: bar.update())
                mean = per_photo[-1]
                speed = s_per_mp(restorer, y)
                return {
                    "name": name,
                    "nfe": restorer.restorer.nfe,
                    "psnr": round(mean["psnr"], 3),
                    "ssim": round(mean["ssim"], 4),
                    "s_per_mp": round(speed, 4),
                    "photographs": per_photo[:-1],
                }

            rows.append(self._once(f"measure-{name}", row))
        return rows

    def restore(self, restorers: dict[str, Tile]) -> dict[str, np.ndarray]:
        """Stage 5: one whole held-out photograph by every restorer, as PNG files."""
        print("[5/7] restore a whole photograph", flush=True)
        name, obs, x = self.protocol.cases[1]
        pictures = {"observed": np.asarray(obs.y), "original": x}
        for label, restorer in restorers.items():
            with tqdm(desc=f"  {label}", unit="tile") as bar:

                def progress(done: int, total: int, bar: tqdm = bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                pictures[label] = restorer(jax.random.key(0), Observation(y=obs.y), progress)
        for label, picture in pictures.items():
            write(self.out / f"{name}-{label}.png", picture)
        return pictures

    def export(self, restorers: dict[str, Tile]) -> dict[str, Any]:
        """Stage 6: both students to both formats; the TFLite files run here, on a photograph."""
        from restore_jax.export.coreml import describe, to_coreml
        from restore_jax.export.graph import restorer_graph
        from restore_jax.export.parity import parity
        from restore_jax.export.tflite import TFLiteModel, ops, to_tflite

        print("[6/7] export the students", flush=True)
        y = np.asarray(self.protocol.cases[1][1].y)[None, :TILE_PX, :TILE_PX]

        def one(name: str) -> dict[str, Any]:
            graph = restorer_graph(restorers[name].restorer, TILE_PX, TILE_PX)
            noise = jax.random.normal(jax.random.key(7), graph.inputs["noise"].shape)
            path = to_tflite(graph, self.out / f"{name}.tflite")
            same = parity(graph, TFLiteModel(path), {"y": y, "noise": noise})
            package = describe(to_coreml(graph, self.out / f"{name}.mlpackage"))
            tflite = {
                "bytes": path.stat().st_size,
                "max_abs_diff": same.max_abs_diff,
                "ms": round(same.ms_model, 2),
                "jax_ms": round(same.ms_jax, 2),
                "ops": len(ops(path)),
            }
            return {"tflite": tflite, "coreml": {key: package[key] for key in ("bytes", "inputs", "outputs")}}

        exported = {}
        for name in tqdm(["student-2", "student-1"], desc="  tflite, mlpackage", unit="model"):
            exported[name] = self._once(f"export-{name}", lambda name=name: one(name))
        return {**exported["student-2"], "student-1": exported["student-1"]}

    def report(self, rows: list[dict[str, Any]], exported: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        """Stage 7: the figures as JSON and Markdown, the pictures as one sheet."""
        print("[7/7] report", flush=True)
        stamp = self.protocol.stamp() | {
            "tile_px": TILE_PX,
            "overlap_px": OVERLAP_PX,
            "hardware": _hardware(),
            "commit": _commit(),
        }
        if self.quick:
            stamp["quick"] = "barely trained: these numbers say nothing about the methods"
        _write_json(self.out / "report.json", {"rows": rows, "export": exported, "protocol": stamp})
        lines = ["| | evaluations | PSNR, dB | SSIM | s / MP |", "|---|--:|--:|--:|--:|"]
        lines += [
            f"| {r['name']} | {r['nfe']} | {r['psnr']:.2f} | {r['ssim']:.4f} | {r['s_per_mp']:.3f} |" for r in rows
        ]
        tflite, coreml = exported["tflite"], exported["coreml"]
        budget = ", ".join(f"{name} {config.images:,}" for name, config in self.configs.items())
        text = f"""# One model's life: blur, half size and noise of 25/255 undone on held-out photographs

{chr(10).join(lines)}

![held-out photograph, restored](comparison.png)

The two-step student leaves as `student-2.tflite` ({tflite["bytes"] / 1e6:.2f} MB) and as `student-2.mlpackage`
({coreml["bytes"] / 1e6:.2f} MB). The TFLite file differs from JAX by at most {tflite["max_abs_diff"]:.1e} and takes
{tflite["ms"]:.0f} ms here for {2 * TILE_PX}x{2 * TILE_PX} pixels, JAX {tflite["jax_ms"]:.0f} ms. What Apple's
compiler makes of the package is not proved here.

Protocol {stamp["hash"]}, commit {stamp["commit"]}, {stamp["hardware"]}. Trained on crops: {budget}.
Whole photographs ({", ".join(name for name, _, _ in self.protocol.cases)}), RGB, rounded to 8 bits, in tiles of
{TILE_PX} pixels of y that overlap by {OVERLAP_PX}. The PSNR is that of one sample a photograph: a diffusion model
samples, a regression net averages, and averages score higher.
"""
        (self.out / "report.md").write_text(text)
        write(self.out / "comparison.png", _comparison(pictures, rows))
        print("\n".join(lines), f"\n{self.out / 'report.md'}\n{self.out / 'comparison.png'}", sep="\n")

    def _once(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """`compute()`, or what it gave before for the same configs, protocol and code."""
        configs = {label: config.to_dict() for label, config in self.configs.items()}
        identity = json.dumps([configs, self.protocol.stamp(), STUDENT_1, _commit()], sort_keys=True, default=str)
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        path = self.out / "stages" / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["fingerprint"] == fingerprint:
                return kept["figures"]
        figures = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_json(path, {"fingerprint": fingerprint, "figures": figures})
        return figures


def _comparison(pictures: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> np.ndarray:
    """A detail of each restoration, three times enlarged, under its name and figures."""
    figures = {
        r["name"]: f"{r['name']}, {r['nfe']} evaluations\n{r['psnr']:.2f} dB, SSIM {r['ssim']:.3f}" for r in rows
    }
    figures |= {"observed": "observed\nblur, half size, noise 25/255", "original": "original\n"}
    top, left, side = 96, 300, 192
    details = {}
    for label in ("observed", "bicubic", "regression", "teacher", "student-1", "student-2", "original"):
        ratio = pictures["original"].shape[0] // pictures[label].shape[0]
        rows_shown, columns_shown = (slice(start // ratio, (start + side) // ratio) for start in (top, left))
        details[figures[label]] = pictures[label][rows_shown, columns_shown]
    return panels(details, "restore_jax: a held-out photograph (mean figures over all three)", columns=4)


def _write_json(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    os.replace(partial, path)


def _hardware() -> str:
    return f"{jax.devices()[0].platform}: {model()}, {os.cpu_count()} cores"


def _commit() -> str:
    try:
        said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        return said.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> int:
    """Runs the stages; 0 when the report stands, or when asked to stop and everything is saved."""
    parser = argparse.ArgumentParser(prog="python -m experiments.lifecycle", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/lifecycle"), help="the folder for everything")
    parser.add_argument("--quick", action="store_true", help="the same lines on a toy net, for tests")
    args = parser.parse_args()
    prepare()
    begun = time.monotonic()
    try:
        life = Lifecycle(args.out, args.quick)
        life.train()
        restorers = life.restorers()
        rows = life.measure(restorers)
        pictures = life.restore(restorers)
        life.report(rows, life.export(restorers), pictures)
    except Interrupted as stopped:
        print(stopped.message)
        return 0
    except CheckpointError as error:
        print(f"lifecycle: {error}", file=sys.stderr)
        return 1
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    sys.exit(main())
