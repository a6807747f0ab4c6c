"""Trains the net for PSNR and the GAN that goes on from it, for some seeds; measures both on held-out photographs.

    python -m experiments.gan --workdir outputs/gan --seeds 3 --minutes 10

Writes results/gan.json, WORKDIR/table.md, WORKDIR/balance.png and WORKDIR/gan.png. Runs that are complete are passed
over and one that was interrupted goes on, so the same command may be given again. `--minutes` stretches the budget of
images of `configs/esrgan.py`: ten are what it takes on one quiet core, after six for the regression. A GAN that
collapses (`train.guard.Guard`, asked as it trains) is stopped, and said to have.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np

from benchmarks.record import record
from configs import esrgan, gan_regression
from restore_jax.build import SpecError
from restore_jax.core import Observation, Restorer
from restore_jax.cpu import prepare
from restore_jax.evaluate.figure import panels
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import METRICS, evaluate
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.methods.interpolate import interpolate
from restore_jax.methods.regression import Cubic
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.nets.efficientnet import STAGES
from restore_jax.photo.write import write
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.guard import Guard
from restore_jax.train.loop import train
from restore_jax.train.record import table as rows_of
from restore_jax.train.start import averaged
from restore_jax.train.stop import Interrupted

SCALE = gan_regression.SCALE
TILE_PX, OVERLAP_PX = 64, 16  # of y
MINUTES = 10.0  # what the budget of configs/esrgan.py takes on one core
UNTRAINED = tuple(k for k in range(len(STAGES)) if k not in Perceptual().stages)
SHARES = (0.25, 0.5, 0.75)  # of the way from the regression to the GAN
MEASURES = METRICS | {"perceptual": Perceptual(), "unseen_stages": Perceptual(stages=UNTRAINED)}
GAIN, COST_DB = 0.15, 1.5


class Collapsed(RuntimeError):
    """The guard has stopped a run; the message says why."""


@contextmanager
def watched(run: Path, guard: Guard, every_seconds: float = 10.0) -> Iterator[None]:
    """While entered, a run whose table the guard finds collapsed is asked to stop, by SIGTERM.

    Raises:
        Collapsed: on the way out, where it was, or where the finished run's table says so.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every_seconds):
            if guard(rows_of(run)):
                os.kill(os.getpid(), signal.SIGTERM)  # the loop saves, and raises Interrupted
                return

    def asked(number: int, frame: FrameType | None) -> None:  # before the loop listens, and after
        raise Interrupted(f"{run.name}: stopped. The same command goes on from the last checkpoint.")

    before = signal.signal(signal.SIGTERM, asked)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except Interrupted as stopped:
        if why := guard(rows_of(run)):
            raise Collapsed(f"{run.name}: {why}") from stopped
        raise
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGTERM, before)
    if why := guard(rows_of(run)):
        raise Collapsed(f"{run.name}: {why}")


def train_both(workdir: Path, seed: int, minutes: float, guard: Guard) -> None:
    """The regression of a seed and the GAN from it, unless they are there."""
    start, gan = workdir / f"regression-{seed}", workdir / f"gan-{seed}"
    share = minutes / MINUTES
    config = gan_regression.get_config()
    short = min(1.0, share)  # a longer GAN has the same start, a shorter one is a trial
    config.images = max(config.batch_size, int(config.images * short))
    config.seed = seed
    finish(config, start)
    config = esrgan.get_config()
    config.images = max(config.batch_size, int(config.images * share))
    config.seed, config.start = seed, str(start)
    with watched(gan, guard):
        finish(config, gan)


def finish(config: Any, run: Path) -> None:
    """Trains to the end, from where it stopped; nothing where it is done."""
    if not (run / "done").exists():
        train(config.to_dict(), run)
        (run / "done").touch()
        jax.clear_caches()


def protocol() -> Protocol:
    """The held-out photographs under the degradation of training."""
    config = esrgan.get_config()
    photographs, degrade = config.heldout_set.to_dict(), config.degrade.to_dict()
    return Protocol(photographs=photographs, degrade=degrade, multiple=SCALE)


def tiled(restorer: Restorer) -> Tile:
    """The restorer, a tile at a time."""
    return Tile(restorer, TILE_PX, OVERLAP_PX, batch=1)


def measured(restorer: Restorer, held: Protocol) -> dict[str, float]:
    """The mean of each measure."""
    mean = evaluate(tiled(restorer), held, MEASURES)[-1]
    return {name: mean[name] for name in MEASURES}


def between(workdir: Path, seed: int, share: float) -> Restorer:
    """The restorer whose parameters lie at `share` of the way from the regression to the GAN."""
    one = load(workdir / f"regression-{seed}")
    gan = averaged(workdir / f"gan-{seed}")["generator"]
    return one.method.restorer(interpolate(one.params, gan, share))


def row_of(workdir: Path, seed: int, held: Protocol) -> dict[str, Any]:
    """The figures of a seed, measured once for the two checkpoints that are there."""
    page = workdir / f"gan-{seed}" / "measured.json"
    if page.exists():
        known = json.loads(page.read_text())
        if known["protocol"] == held.stamp()["hash"]:
            return known
    before, after = (measured(load(workdir / f"{run}-{seed}"), held) for run in ("regression", "gan"))
    line = [{"share": share, **measured(between(workdir, seed, share), held)} for share in SHARES]
    row = {
        "seed": seed,
        "psnr_drop": before["psnr"] - after["psnr"],
        "ssim_drop": before["ssim"] - after["ssim"],
        "perceptual_gain": 1 - after["perceptual"] / before["perceptual"],
        "unseen_stages_gain": 1 - after["unseen_stages"] / before["unseen_stages"],
        "images": esrgan_images(workdir, seed),
        "regression": before,
        "gan": after,
        "between": line,
        "protocol": held.stamp()["hash"],
    }
    partial = page.with_suffix(".partial")
    partial.write_text(json.dumps(row, indent=1))
    os.replace(partial, page)
    return row


def esrgan_images(workdir: Path, seed: int) -> int:
    """How many crops the GAN has seen."""
    return int(max(row["images"] for row in rows_of(workdir / f"gan-{seed}")))


def table(found: list[dict[str, Any]], bicubic: dict[str, float]) -> str:
    """Markdown: bicubic, then each seed's regression, points between, and GAN."""
    lines = ["| | " + " | ".join(MEASURES) + " |", "|---|" + "--:|" * len(MEASURES)]

    def line(name: str, figures: dict[str, float]) -> None:
        lines.append(
            f"| {name} | "
            + " | ".join(f"{figures[m]:.2f}" if m == "psnr" else f"{figures[m]:.4f}" for m in MEASURES)
            + " |"
        )

    line("bicubic", bicubic)
    for row in found:
        line(f"regression, seed {row['seed']}", row["regression"])
        for point in row["between"]:
            line(f"{point['share']:.2f} of the way", point)
        line(f"GAN, seed {row['seed']}", row["gan"])
    return "\n".join(lines) + "\n"


def plot(workdir: Path, seeds: list[int]) -> None:
    """WORKDIR/balance.png: the generator's losses, and the two players' balance, against images."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panes = {
        "losses, first value = 1": ("charbonnier", "perceptual", "adversarial", "discriminator"),
        "balance (1: cannot tell), spread": ("balance", "spread"),
        "mean logits": ("real", "fake"),
    }
    figure, axes = pyplot.subplots(len(panes), 1, figsize=(9, 10), sharex=True)
    for axis, (title, names) in zip(axes, panes.items(), strict=True):
        for color, name in enumerate(names):
            for seed in seeds:
                points = [r for r in rows_of(workdir / f"gan-{seed}") if name in r]
                if not points:
                    continue
                scale = abs(points[0][name]) if title.startswith("losses") else 1.0
                label = name if seed == seeds[0] else None
                images, values = [r["images"] for r in points], [r[name] / (scale or 1.0) for r in points]
                axis.plot(images, values, color=f"C{color}", alpha=0.8, linewidth=1, label=label)
        axis.set_title(title, fontsize=10)
        axis.legend(loc="upper right", fontsize=8)
    axes[-1].set_xlabel("crops of training")
    figure.tight_layout()
    figure.savefig(workdir / "balance.png", dpi=110)
    pyplot.close(figure)


def picture(workdir: Path, seed: int, held: Protocol) -> np.ndarray:
    """Details of two held-out photographs: bicubic, regression, GAN, reference."""
    restorers = {
        "bicubic": Cubic(SCALE),
        "regression": load(workdir / f"regression-{seed}"),
        "GAN": load(workdir / f"gan-{seed}"),
    }
    psnr, shown = METRICS["psnr"], {}
    for case, top, left in ((0, 64, 128), (1, 96, 300)):
        name, obs, x = held.cases[case]
        detail = np.s_[top : top + 160, left : left + 160]
        for label, restorer in restorers.items():
            x_hat = held.compared(tiled(restorer)(jax.random.key(0), Observation(y=np.asarray(obs.y)[None]))[0])
            figures = float(psnr(x_hat[None], x[None])[0]), float(MEASURES["perceptual"](x_hat[None], x[None])[0])
            shown[f"{label}, {name}\n{figures[0]:.2f} dB, perceptual {figures[1]:.3f}"] = np.asarray(x_hat)[detail]
        shown[f"original, {name}\n"] = np.asarray(x)[detail]
    title = f"Super-resolution by {SCALE}, seed {seed} (figures: the whole photograph)"
    return panels(shown, title, columns=4, width_px=320)


def main() -> int:
    """0 when all runs stand and are measured, or when asked to stop and saved; 1 with the reason otherwise."""
    parser = argparse.ArgumentParser(prog="python -m experiments.gan", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="the folder for all runs")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of one core; stretch the GAN's budget")
    args = parser.parse_args()
    if args.seeds < 1 or not args.minutes > 0:
        parser.error("--seeds and --minutes are above 0")
    prepare()
    seeds = list(range(args.seeds))
    try:
        for seed in seeds:
            train_both(args.workdir, seed, args.minutes, Guard())
        held = protocol()
        found = [row_of(args.workdir, seed, held) for seed in seeds]
    except Interrupted as stopped:
        print(stopped.message)
        return 0
    except (Collapsed, CheckpointError, FloatingPointError, SpecError, ValueError, OSError) as error:
        print(f"gan: {error}", file=sys.stderr)
        return 1
    text = table(found, measured(Cubic(SCALE), held))
    reached = [row["seed"] for row in found if row["perceptual_gain"] >= GAIN and row["psnr_drop"] < COST_DB]
    text += (
        f"\nPerceptual distance lower by {GAIN:.0%} or more for less than {COST_DB} dB: seeds {reached or 'none'}.\n"
    )
    (args.workdir / "table.md").write_text(text)
    print(text)
    plot(args.workdir, seeds)
    write(args.workdir / "gan.png", picture(args.workdir, seeds[0], held))
    said = (
        f"x{SCALE} cubic, whole held-out photographs, RGB, 8 bits, tiled {TILE_PX}/{OVERLAP_PX}; perceptual: "
        f"EfficientNet-Lite0 stages {MEASURES['perceptual'].stages}, all of which were trained on; "
        f"unseen_stages: {UNTRAINED}; {args.minutes:g} minutes' budget; protocol {held.stamp()['hash']}"
    )
    record("gan", {"rows": found}, said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
