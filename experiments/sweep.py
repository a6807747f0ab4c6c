"""Trains all runs of an ablation, one after the other, each from the runs it needs.

    python -m experiments.sweep --config configs/ablations/few_step --workdir outputs/few_step
    python -m experiments.sweep --config configs/ablations/few_step --workdir outputs/few_step --only ect,cd

    python -m experiments.sweep --config configs/ablations/few_step --workdir outputs/few_step --shard 0/3

`--shard i/n` makes the i-th of n shares, i from 0, for an array job (Slurm: --shard $SLURM_ARRAY_TASK_ID/3). A run and
those that it starts from or learns from are in one share: no job waits for another, and shares may differ in length.

An ablation is a folder (or file) of `configs/` with `sweep()`: label -> {config, start, teacher}. Runs that are
complete are passed over and one that was interrupted goes on, so the same command may be given again.
WORKDIR/<label>/seconds.json says how long each took.
"""

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path

import jax

from restore_jax.build import SpecError
from restore_jax.cpu import prepare
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.loop import train
from restore_jax.train.stop import Interrupted


def ablation(path: str) -> dict[str, dict]:
    """`sweep()` of the config at `path`."""
    name = path.removesuffix("/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise SpecError(f"--config {path}: there is no such file ({missing}).") from missing
    if not hasattr(module, "sweep"):
        raise SpecError(f"--config {path}: it has no sweep(); single runs are for experiments.train.")
    return module.sweep()


def share(runs: dict[str, dict], shard: str) -> dict[str, dict]:
    """The runs of share `i/n`, in their order: families of runs that need each other, dealt out in turn."""
    index, _, count = shard.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise SpecError(f"--shard must be i/n with i from 0 to n - 1, such as 0/4, not {shard!r}.")
    family: dict[str, str] = {}
    for label, entry in runs.items():
        family[label] = label
        for need in (entry["start"], entry["teacher"]):
            if need in family and family[need] != family[label]:
                old, new = family[label], family[need]
                family = {name: new if first == old else first for name, first in family.items()}
    eldest = list(dict.fromkeys(family.values()))
    mine = {first for number, first in enumerate(eldest) if number % int(count) == int(index)}
    return {label: entry for label, entry in runs.items() if family[label] in mine}


def run(label: str, entry: dict, workdir: Path) -> None:
    """One run, from where it stopped."""
    config = entry["config"]
    with config.unlocked():
        for role in ("start", "teacher"):
            config[role] = str(workdir / entry[role]) if entry[role] else ""
    clock = workdir / label / "seconds.json"
    before = json.loads(clock.read_text())["seconds"] if clock.exists() else 0.0
    begun = time.monotonic()
    try:
        train(config.to_dict(), workdir / label)
    finally:
        if (workdir / label).is_dir():
            partial = clock.with_suffix(".partial")
            partial.write_text(json.dumps({"seconds": round(before + time.monotonic() - begun, 1)}))
            os.replace(partial, clock)


def main() -> int:
    """0 when all runs are complete, or when asked to stop and everything is saved."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="a folder or file of configs/ with sweep()")
    parser.add_argument("--workdir", type=Path, required=True, help="the folder for all runs")
    parser.add_argument("--only", default="", help="runs whose labels start with one of these, separated by commas")
    parser.add_argument("--shard", default="0/1", help="i/n: the i-th of n shares, from 0, for array jobs")
    args = parser.parse_args()
    prepare()
    try:
        runs = ablation(args.config)
        wanted = tuple(args.only.split(","))
        chosen = {label: entry for label, entry in runs.items() if label.startswith(wanted)}
        if not chosen:
            raise SpecError(f"--only {args.only}: no run is called so; there are {', '.join(runs)}.")
        chosen = share(chosen, args.shard)
        if not chosen:
            print(f"--shard {args.shard}: there are fewer families of runs than shares, and nothing to do here.")
        for k, (label, entry) in enumerate(chosen.items(), 1):
            print(f"[{k}/{len(chosen)}] {label}: {entry['config'].images:,} crops", flush=True)
            if not (args.workdir / label / "done").exists():
                run(label, entry, args.workdir)
                (args.workdir / label / "done").touch()
            jax.clear_caches()  # each run compiles its own programs
    except Interrupted as stopped:
        print(stopped.message)
    except (CheckpointError, FloatingPointError, SpecError, ValueError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
