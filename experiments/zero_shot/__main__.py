"""Zero-shot restoration of held-out photographs: every sampler on every task, with the settings that were searched for.

    python -m experiments.zero_shot --workdir outputs/prior --consistency outputs/prior_consistency

Writes results/zero_shot.json, and WORKDIR/zero_shot.png: rows of samplers, columns of tasks. `--samples` posterior
samples are drawn of each; their mean is the better estimate, and their spread says where it is a guess.
"""

import argparse
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from benchmarks.record import ROOT, record
from configs import zero_shot
from experiments.tune import add_priors, best, changed, load_priors
from restore_jax.build import build
from restore_jax.core import Observation, pinv
from restore_jax.cpu import prepare, run_in_order
from restore_jax.evaluate.figure import visible
from restore_jax.methods.zero_shot import ZeroShot
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.metrics.psnr import Psnr
from restore_jax.photo.write import to_uint8, write
from restore_jax.train.checkpoint import CheckpointError

SIDE_PX = 96
OBSERVED = jax.random.key(7)
METRICS = {"psnr": Psnr(), "perceptual": Perceptual()}
CORNERS = {"chelsea": (80, 180), "coffee": (96, 300), "rocket": (250, 290)}


def crops(source: Any) -> dict[str, np.ndarray]:
    """A detail of each held-out photograph, `[h, w, 3]` in [0, 1]."""
    found = {}
    for i, name in enumerate(source.names):
        top, left = CORNERS.get(name, (0, 0))
        photo = np.asarray(source[i])[top : top + SIDE_PX, left : left + SIDE_PX]
        found[name] = photo.astype(np.float32) / 255
    return found


def figures_of(
    prior: ZeroShot, spec: dict[str, Any], degrade: dict[str, Any], photographs: dict[str, np.ndarray], samples: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """One sampler on one task: mean figures over the photographs, and the first sample of each.

    Seconds are those of one restoration, compiled and warm.
    """
    restorer = ZeroShot(prior.method, prior.params, build(spec, "sampler"))
    run = jax.jit(jax.vmap(lambda key, obs: restorer(key, obs), in_axes=(0, None)))
    observe, keys = jax.jit(build(degrade, "task")), jax.random.split(jax.random.key(0), samples)
    found: dict[str, list[float]] = {}
    first = {}
    for name, photo in photographs.items():
        x = jnp.asarray(photo)
        obs = observe(OBSERVED, x)
        begun = time.perf_counter()
        x_hat = jnp.clip(jax.block_until_ready(run(keys, obs)), 0, 1)
        each = {"seconds": (time.perf_counter() - begun) / samples}
        truth = jnp.broadcast_to(x, x_hat.shape)
        each |= {metric: float(jnp.mean(f(x_hat, truth))) for metric, f in METRICS.items()}
        each["psnr_of_mean"] = float(METRICS["psnr"](x_hat.mean(0, keepdims=True), x[None])[0])
        each["spread"] = float(jnp.sqrt(jnp.mean(x_hat.var(0, ddof=1))))
        for figure, value in each.items():
            found.setdefault(figure, []).append(value)
        first[name] = np.asarray(x_hat[0])
    jax.clear_caches()
    found["seconds"] = found["seconds"][1:]  # without the compilation
    return {figure: float(np.mean(values)) for figure, values in found.items()}, first


def sheet(pictures: dict[tuple[str, str], np.ndarray], width_px: int = 192) -> np.ndarray:
    """Rows and columns, each under its name."""
    rows, columns = (list(dict.fromkeys(key[k] for key in pictures)) for k in (0, 1))
    gap, side, top = 6, 90, 30
    page = Image.new("RGB", (side + len(columns) * (width_px + gap), top + len(rows) * (width_px + gap)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for j, column in enumerate(columns):
        draw.text((side + j * (width_px + gap), 8), column, fill="black", font=font)
    for i, row in enumerate(rows):
        draw.text((6, top + i * (width_px + gap) + width_px // 2), row, fill="black", font=font)
        for j, column in enumerate(columns):
            image = Image.fromarray(to_uint8(pictures[row, column])).resize(
                (width_px, width_px), Image.Resampling.NEAREST
            )
            page.paste(image, (side + j * (width_px + gap), top + i * (width_px + gap)))
    return np.asarray(page)


def main() -> int:
    """0 when table and picture stand."""
    parser = argparse.ArgumentParser(prog="python -m experiments.zero_shot", description=__doc__.splitlines()[0])
    add_priors(parser)
    parser.add_argument("--samples", type=int, default=2, help="posterior samples a picture")
    parser.add_argument("--shown", default="coffee", help="the photograph of the sheet")
    args = parser.parse_args()
    prepare()
    run_in_order()
    try:
        priors, config = load_priors(args)
    except CheckpointError as error:
        print(f"zero_shot: {error}", file=sys.stderr)
        return 1
    tuned = ROOT / "results" / "tuned.json"
    if not tuned.exists():
        print(f"zero_shot: {tuned} is not there: run experiments.tune first.", file=sys.stderr)
        return 1
    found = json.loads(tuned.read_text())["figures"]["rows"]
    photographs = crops(build(config["heldout_set"], "config.heldout_set"))
    x = photographs[args.shown]
    rows, pictures = [], {}
    for task, degrade in zero_shot.TASKS.items():
        obs = jax.jit(build(degrade, "task"))(OBSERVED, jnp.asarray(x))
        pictures["original", task], pictures["y", task] = x, _on_the_grid(obs, x.shape)
        pictures["pinv y", task] = np.clip(np.asarray(pinv(obs.operator, obs.y)), 0, 1)
    todo = [(sampler, task) for sampler in zero_shot.SAMPLERS for task in zero_shot.TASKS]
    for sampler, task in tqdm(todo, desc="zero-shot", unit="row"):
        settings = best(found, sampler, task)
        spec = changed(zero_shot.SAMPLERS[sampler][0], settings)
        means, first = figures_of(priors[sampler], spec, zero_shot.TASKS[task], photographs, args.samples)
        pictures[sampler, task] = first[args.shown]
        nfe = build(spec, "sampler").nfe
        rows.append({"sampler": sampler, "task": task, "nfe": nfe, "settings": settings, **means})
    write(args.workdir / "zero_shot.png", sheet(pictures))
    print("| sampler | task | evaluations | PSNR, dB | of the mean | perceptual | spread | s |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        print(
            f"| {row['sampler']} | {row['task']} | {row['nfe']} | {row['psnr']:.2f} | {row['psnr_of_mean']:.2f}"
            f" | {row['perceptual']:.4f} | {row['spread']:.4f} | {row['seconds']:.2f} |"
        )
    said = f"{SIDE_PX} px of {', '.join(photographs)}; {args.samples} samples each; settings of results/tuned.json"
    record("zero_shot", {"rows": rows}, said)
    return 0


def _on_the_grid(obs: Observation, shape: tuple[int, ...]) -> np.ndarray:
    """y, its pixels repeated to the size of x."""
    y = visible(obs.y)
    repeat = shape[0] // y.shape[0]
    return np.clip(np.repeat(np.repeat(y, repeat, 0), repeat, 1), 0, 1)


if __name__ == "__main__":
    sys.exit(main())
