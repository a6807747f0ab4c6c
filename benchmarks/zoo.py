"""The shipped models on standard sets, by task: rows for results/zoo.json, and from all of its rows docs/results.md.

    python -m benchmarks.zoo [--data ../shared/data/eval] [--models denoise outputs/models/photo_teacher]

A model is one that is shipped, by its name, or a folder that `restore-jax pack` wrote.

The sets are those that papers compare on. A model that mends photographs from the wild is measured on McMaster,
damaged as its card says ("wild"; the same damage for all models of the task), and beside it stands the picture
as it was given. A prior paints the 70 % of the pixels that are missing, and is told which. Models that take steps are
measured with other numbers too, "NAME (evaluations)". Rows are kept in outputs/zoo/NAME as they are made; a second run
goes on where the first stopped.
"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from benchmarks.record import ROOT
from experiments import results
from restore_jax import zoo
from restore_jax.core import Keys, Observation, Restorer
from restore_jax.cpu import prepare
from restore_jax.data.sets.standard import NoSet
from restore_jax.evaluate.demo import MISSING, PRIOR, zero_shot
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.sheet import Column, measure
from restore_jax.evaluate.standard import standard
from restore_jax.infer.around import Around
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.methods.model import Model, located, read_model
from restore_jax.methods.regression import Cubic

ENLARGED = ("Set5", "Set14", "BSD100")
TASKS = {
    "denoise": [("CBSD68", f"noise-{level}") for level in (15, 25, 50)] + [("McMaster", "noise-25")],
    "jpeg": [("classic5", f"jpeg-{quality}") for quality in (10, 20, 40)],
    **{task: [(name, "bicubic-x2") for name in ENLARGED] for task in ("sr2", "mobile")},
    "sr4": [(name, "bicubic-x4") for name in ENLARGED],
}
WILD = ("McMaster",)  # for tasks that have no standard degradation
GIVEN = "as given"
STEPS = (2, 4, 10)  # of a solver or a bridge, beside its own number
MULTIPLE = 8  # what a prior's network divides sides by


def columns(model: Model, data: Path) -> list[Column]:
    """What a model is measured on; sets that are not in the folder are left out and said."""
    found = []
    wild = [("Set5", "inpaint-70")] if model.task == PRIOR else [(name, f"{model.task}-wild") for name in WILD]
    for name, degradation in TASKS.get(model.task, wild):
        try:
            if model.task in TASKS:
                protocol = standard(name, degradation, str(data))
            else:
                degrade, multiple = (MISSING, MULTIPLE) if model.task == PRIOR else (model.degrade, model.scale)
                photographs = {"name": "data.sets.standard.Standard", "set": name, "root": str(data)}
                protocol = Protocol(photographs, degrade, multiple=multiple)
            found.append(Column(name, degradation, protocol, told=model.task == PRIOR))
        except NoSet as error:
            print(f"{name} is left out: {str(error).splitlines()[0]}", file=sys.stderr)
    return found


class Whole(Around):
    """A restorer of whole pictures, compiled for each size."""

    @cached_property
    def _compiled(self) -> Any:
        return jax.jit(lambda key, obs: self.restorer(key, obs))

    def __call__(self, key: Keys, obs: Observation) -> Any:
        """The restored batch."""
        return self._compiled(key, obs)


def paced(name: str, restorer: Any) -> Iterator[tuple[str, Restorer]]:
    """The restorer under its name; one that takes steps in other numbers too, and then with its evaluations behind."""
    yield name, restorer
    sampler = getattr(restorer, "sampler", None)
    others: list[Any] = []
    if getattr(sampler, "n_steps", 1) > 1:
        others = [dataclasses.replace(sampler, n_steps=n) for n in STEPS if n != sampler.n_steps]
    elif hasattr(sampler, "sigmas"):
        others = [dataclasses.replace(sampler, sigmas=sampler.sigmas[:n]) for n in range(1, len(sampler.sigmas))]
    for one in others:
        other = dataclasses.replace(restorer, sampler=one)
        yield f"{name} ({other.nfe})", other


def main() -> int:
    """Measures what is not measured yet, and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/eval", metavar="FOLDER")
    parser.add_argument("--models", nargs="+", default=zoo.names(), metavar="NAME", help="these; all that are shipped")
    args = parser.parse_args()
    prepare()
    work: list[tuple[str, Restorer, list[Column]]] = []
    for given in args.models:
        model, name = read_model(located(given)), Path(given).name
        found = columns(model, args.data)
        if model.task == PRIOR:
            work.append((name, Whole(zero_shot(load(given))), found))
            continue
        work += [(said, restorer, found) for said, restorer in paced(name, load(given))]
        if model.task not in TASKS:
            work.append((GIVEN, Cubic(model.scale), found))
    files = []
    with tqdm(
        desc="zoo", unit="picture", total=sum(len(c.protocol.cases) for _, _, found in work for c in found)
    ) as bar:
        for name, restorer, found in work:
            out = ROOT / "outputs" / "zoo" / re.sub(r"\W+", "_", name)
            bar.set_postfix_str(name)
            if found:
                measure(restorer if isinstance(restorer, Whole) else Tile(restorer), name, found, out, bar.update)
                files.append(str(out / "results.json"))
    return results.main(["--add", *files] if files else [])


if __name__ == "__main__":
    sys.exit(main())
