"""Finds the settings of zero-shot samplers, by trying all that `configs/zero_shot.py` names, and records the search.

    python -m experiments.tune --workdir outputs/prior --consistency outputs/prior_consistency

Photographs of the prior's *training* set are degraded and restored with each setting; the best mean PSNR wins. What is
held out is not looked at. results/tuned.json says seed, set, score and everything that was tried; a search that was
stopped goes on from there.
"""

import argparse
import copy
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.record import ROOT, record
from configs import zero_shot
from restore_jax.build import build
from restore_jax.cpu import prepare, run_in_order
from restore_jax.data.pipeline import Pipeline, to_float
from restore_jax.methods.zero_shot import ZeroShot
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.checkpoint import CheckpointError, read

CROPS, CROP_PX, SEED = 2, 64, 0


def changed(spec: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """`spec` with each `path.into.it` of `settings` set; numbers in a path count along tuples."""
    spec = copy.deepcopy(spec)
    for path, value in settings.items():
        *way, last = path.split(".")
        here: Any = spec
        for name in way:
            here = here[int(name)] if name.isdigit() else here[name]
        here[last] = value
    return spec


def combinations(space: dict[str, tuple]) -> list[dict[str, Any]]:
    """Every combination of the values of a space."""
    return [dict(zip(space, values)) for values in itertools.product(*space.values())]


def score(prior: ZeroShot, spec: dict[str, Any], degrade: dict[str, Any], x: Any) -> float:
    """Mean PSNR over the crops, dB, of one sample each; -inf where it is not finite."""
    keys = jax.random.split(jax.random.key(SEED), len(x))
    obs = jax.jit(jax.vmap(build(degrade, "task")))(keys, x)
    restorer = ZeroShot(prior.method, prior.params, build(spec, "sampler"))
    x_hat = jnp.clip(jax.jit(lambda keys, obs: restorer(keys, obs))(keys, obs), 0, 1)
    psnr = float(jnp.mean(Psnr()(x_hat, x)))
    return psnr if np.isfinite(psnr) else float("-inf")


def load_prior(workdir: Path) -> tuple[ZeroShot, dict[str, Any]]:
    """The prior of a training run, and its config; the sampler is its own."""
    config, state, _ = read(workdir)
    method = build(config["method"], "config.method")
    return ZeroShot(method, jax.tree.map(jnp.asarray, state["ema"]), method.sampler), config


def add_priors(parser: argparse.ArgumentParser) -> None:
    """The options that `load_priors` reads."""
    parser.add_argument("--workdir", type=Path, required=True, help="of configs/prior.py's run")
    parser.add_argument("--consistency", type=Path, required=True, help="of configs/prior_consistency.py's run")


def load_priors(args: argparse.Namespace) -> tuple[dict[str, ZeroShot], dict[str, Any]]:
    """The prior that each sampler asks, and the config of the first."""
    consistency, _ = load_prior(args.consistency)
    prior, config = load_prior(args.workdir)
    return {name: consistency if name in zero_shot.OF_CONSISTENCY else prior for name in zero_shot.SAMPLERS}, config


def best(rows: list[dict[str, Any]], sampler: str, task: str) -> dict[str, Any]:
    """The settings with the best score."""
    tried = [row for row in rows if (row["sampler"], row["task"]) == (sampler, task)]
    if not tried:
        raise SystemExit(f"results/tuned.json has nothing of {sampler} on {task}: run experiments.tune first.")
    settings = max(tried, key=lambda row: row["psnr"])["settings"]
    return {path: tuple(value) if isinstance(value, list) else value for path, value in settings.items()}


def main() -> int:
    """0 when everything was tried."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tune", description=__doc__.splitlines()[0])
    add_priors(parser)
    parser.add_argument("--afresh", action="store_true", help="try again what results/tuned.json already has")
    args = parser.parse_args()
    prepare()
    run_in_order()
    try:
        priors, config = load_priors(args)
    except CheckpointError as error:
        print(f"tune: {error}", file=sys.stderr)
        return 1
    source = build(config["train_set"], "config.train_set")
    x = to_float(Pipeline(source, CROPS, CROP_PX, seed=SEED, augment=False)[0])
    page = ROOT / "results" / "tuned.json"
    rows = [] if args.afresh or not page.exists() else json.loads(page.read_text())["figures"]["rows"]
    known = {json.dumps([row["sampler"], row["task"], row["settings"]]) for row in rows}
    todo = [
        (name, task, settings)
        for name, (_, space) in zero_shot.SAMPLERS.items()
        for task in zero_shot.TASKS
        for settings in combinations(space)
        if json.dumps([name, task, settings]) not in known
    ]
    protocol = f"{CROPS} crops of {CROP_PX} px of {config['train_set']}, seed {SEED}; mean PSNR of one sample each, dB"
    for name, task, settings in tqdm(todo, desc="tune", unit="setting"):
        psnr = score(priors[name], changed(zero_shot.SAMPLERS[name][0], settings), zero_shot.TASKS[task], x)
        rows.append({"sampler": name, "task": task, "settings": settings, "psnr": round(psnr, 3)})
        jax.clear_caches()
        if len(rows) % 10 == 0:
            record("tuned", {"rows": rows}, protocol)
    record("tuned", {"rows": rows}, protocol)
    for name, task in itertools.product(zero_shot.SAMPLERS, zero_shot.TASKS):
        print(f"{name:22} {task:10} {best(rows, name, task)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
