"""Damages checkpoints in many ways and counts what comes back wrong or unnamed.

    python -m tests.train.corrupt --cases 100

Each case takes a workdir of three checkpoints, cuts a file of the newest one short or flips one of its bits (the
manifest is one of the files; in every fourth case the checkpoint before is damaged too), opens it, and expects the
newest whole state, place and config, from `Checkpoints.restore` and from `read`, with each damaged file named.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

from restore_jax.train.checkpoint import Checkpoints, read
from restore_jax.train.retain import Retain
from tests.train.world import CONFIG, Place, bits, state_at

STEPS = (4, 8, 12)


def prepare(workdir: Path) -> None:
    """A run with checkpoints at `STEPS`."""
    with Checkpoints(workdir, CONFIG, Retain(latest=3)) as checkpoints:
        for step in STEPS:
            checkpoints.save(state_at(step), Place(step))


def harm(directory: Path, step: int, rng: random.Random) -> str:
    """One file of a step, cut short or with one bit flipped: its name, as messages say it."""
    manifest = directory / "manifests" / f"{step}.json"
    files = [path for path in sorted((directory / str(step)).rglob("*")) if path.is_file() and path.stat().st_size]
    path = rng.choice([*files, manifest])
    content = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path.relative_to(directory).as_posix()


def case(prepared: Path, workdir: Path, rng: random.Random) -> tuple[bool, bool]:
    """Whether a damaged workdir gave anything but its newest whole checkpoint; whether a damaged file went unnamed."""
    shutil.copytree(prepared, workdir)
    depth = 2 if rng.random() < 0.25 else 1
    harmed = [harm(workdir / "checkpoints", step, rng) for step in reversed(STEPS[-depth:])]
    good = STEPS[-depth - 1]
    said: list[str] = []
    wrong = False
    try:
        with Checkpoints(workdir, CONFIG, Retain(latest=3), say=said.append) as checkpoints:
            wrong |= checkpoints.latest != good
            place = Place()
            wrong |= bits(checkpoints.restore(state_at(0), place)) != bits(state_at(good)) or place.at != good
    except Exception as error:
        wrong = True
        said.append(str(error))
    unnamed = not all(name in "\n".join(said) for name in harmed)
    said = []
    try:
        config, state, step = read(workdir, said.append)
        wrong |= step != good or config != CONFIG or bits(state["params"]) != bits(state_at(good).params)
    except Exception as error:
        wrong = True
        said.append(str(error))
    unnamed |= not all(name in "\n".join(said) for name in harmed)
    shutil.rmtree(workdir)
    return wrong, unnamed


def corrupt(cases: int, seed: int = 0) -> dict[str, int]:
    """Counts over many cases."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / "whole")
        results = [case(Path(folder) / "whole", Path(folder) / "harmed", rng) for _ in range(cases)]
    return {"cases": cases, "wrong": sum(w for w, _ in results), "unnamed": sum(u for _, u in results)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(corrupt(args.cases, args.seed)))


if __name__ == "__main__":
    main()
