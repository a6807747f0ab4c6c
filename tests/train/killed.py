"""Kills one training run at random moments until it has been killed often enough, and compares it with one left alone.

    python -m tests.train.killed --kills 30

Both runs save a checkpoint every second step, so that much of their time is a save under way. Each kill is SIGKILL, a
quarter of a second at most after the run has come past a step drawn at random (every sixth: within two seconds of its
start, when it is still opening, restoring or compiling). Then the same call goes on. Compared to the bit: parameters,
average, optimiser, key, step, and the table of logged numbers but for the times in it.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from restore_jax.train.checkpoint import read
from restore_jax.train.integrity import steps
from tests.train.tiny import tiny_config
from tests.train.world import bits

TIMES = ("seconds", "images_per_second", "time")  # what no two runs share
# Every run is a fresh process of a server that has imported everything and started nothing: importing takes longer than
# training here. What one run has compiled, the next reads, as it would where a user has a compilation cache.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["restore_jax.train.loop", "restore_jax.data.sets.embedded", "tensorboardX"])
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def run(workdir: Path, images: int) -> None:
    """The run, or the rest of it; what it says goes to a file."""
    from restore_jax.train.loop import train

    said = os.open(workdir.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    train(tiny_config(images=images, checkpoint_every_images=8, preview_every_images=images), workdir)


def start(workdir: Path, images: int) -> ForkServerProcess:
    """The run in a process of its own."""
    process = PROCESSES.Process(target=run, args=(workdir, images))
    process.start()
    return process


def ended(process: ForkServerProcess, workdir: Path) -> bool:
    """Whether a run has come to its end; one that failed is an error here."""
    if process.exitcode not in (None, 0):
        raise RuntimeError(f"the run ended with {process.exitcode}:\n{workdir.with_suffix('.log').read_text()}")
    return process.exitcode == 0


def logged(workdir: Path) -> tuple[int, int]:
    """When the table was last changed, and the step of its last whole row."""
    table = workdir / "table.jsonl"
    try:
        rows = table.read_text().split("\n")[:-1]
        return table.stat().st_mtime_ns, json.loads(rows[-1])["step"] if rows else 0
    except FileNotFoundError:
        return 0, 0


def newest(workdir: Path) -> int:
    """The newest step with a manifest."""
    return max(steps(workdir / "checkpoints"), default=0)


def kill(workdir: Path, images: int, rng: random.Random, further: float) -> bool:
    """Starts the run and kills it `further` steps on (0: in its start); False if it came to its end first."""
    before, until = logged(workdir)[0], newest(workdir) + further
    process = start(workdir, images)
    try:
        while further and not ended(process, workdir):
            changed, step = logged(workdir)  # the first change takes back the rows after the checkpoint
            if changed != before and step >= until:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.25 if further else 2.0))
        return not ended(process, workdir)
    finally:
        process.kill()
        process.join()


def finish(workdir: Path, images: int) -> None:
    """Lets the run come to its end."""
    process = start(workdir, images)
    process.join()
    ended(process, workdir)


def outcome(workdir: Path) -> tuple[int, dict[str, bytes], list[dict[str, Any]]]:
    """Step, every bit of the last state, and the table."""
    _, state, step = read(workdir)
    rows = [json.loads(line) for line in (workdir / "table.jsonl").read_text().splitlines()]
    return step, bits(state), [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def killed(kills: int, images: int, seed: int, folder: Path) -> dict[str, Any]:
    """Both runs, and whether they are one."""
    os.environ.update(QUICK | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")})
    rng, run_steps = random.Random(seed), images // 4
    finish(folder / "whole", images)
    print("the run left alone is done", file=sys.stderr, flush=True)
    runs = 0
    while runs < kills:
        share = 0.9 * (run_steps - newest(folder / "killed")) / (kills - runs)  # so that the run lasts for all kills
        if not kill(folder / "killed", images, rng, 0.0 if runs % 6 == 5 else rng.uniform(1, max(1.0, 2 * share))):
            break
        runs += 1
        print(f"kill {runs}: newest checkpoint {newest(folder / 'killed')} of {run_steps}", file=sys.stderr, flush=True)
    finish(folder / "killed", images)
    whole, other = outcome(folder / "whole"), outcome(folder / "killed")
    differ = [name for name, a, b in zip(("step", "state", "table"), whole, other) if a != b]
    counts = {"steps": whole[0], "leaves": len(whole[1]), "rows": len(whole[2])}
    return {"runs": runs, "identical": not differ, "differ": differ, **counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=4 * 400, help="of the whole run, four a step")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(killed(args.kills, args.images, args.seed, Path(folder))))


if __name__ == "__main__":
    main()
