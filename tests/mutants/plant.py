"""Plants bugs one at a time, and asks the tests whether they notice.

Each mutant is one changed line in a copy of the repository. The tests that it names run there unchanged first, then
with the bug: they must pass, and then fail.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).parents[2]


class Mutant(NamedTuple):
    """A bug: in `file`, under restore_jax, `line` becomes `bug`; `tests` are pytest's arguments."""

    file: str
    line: str
    bug: str
    tests: tuple[str, ...]


def tests_fail(tests: tuple[str, ...], mutant: Mutant | None) -> bool:
    """Runs the tests, with a bug or without."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("restore_jax", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant:
            path = copy / "restore_jax" / mutant.file
            text = path.read_text()
            if text.count(mutant.line) != 1:
                raise SystemExit(f"{mutant.file} has {mutant.line!r} {text.count(mutant.line)} times: mend the mutant.")
            path.write_text(text.replace(mutant.line, mutant.bug))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was selected, or it did not start
        raise SystemExit(f"{' '.join(tests)} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def plant(mutants: Sequence[Mutant]) -> dict[str, int]:
    """How many were planted and how many caught, two at a time; the last line printed says the same as JSON."""
    selections = sorted({mutant.tests for mutant in mutants})
    with ThreadPoolExecutor(2) as pool:
        unharmed = list(
            tqdm(pool.map(lambda tests: tests_fail(tests, None), selections), total=len(selections), desc="without")
        )
        if any(unharmed):
            wrong = [" ".join(tests) for tests, failed in zip(selections, unharmed) if failed]
            raise SystemExit(f"These fail without any bug; mend them first: {'; '.join(wrong)}")
        results = list(
            tqdm(pool.map(lambda one: tests_fail(one.tests, one), mutants), total=len(mutants), desc="mutants")
        )
    for mutant, found in zip(mutants, results):
        print(
            f"{'caught' if found else 'MISSED'}  {mutant.file}: {mutant.bug.splitlines()[0].strip()}", file=sys.stderr
        )
    counts = {"planted": len(mutants), "caught": sum(results)}
    print(json.dumps(counts))
    return counts
