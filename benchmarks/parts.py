"""One results file of several commands, each of which prints a line of JSON last.

    PARTS = {"tiles": "-m benchmarks.photo_tiles"}; gathered("photo", PARTS, figures, __doc__)

A part that was measured is kept in `outputs/<benchmark>.parts.json` until it is asked for by name, so that what was
stopped goes on; the file in `results/` is written once all parts are there. Each kept part says at which commit it was
measured.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

from benchmarks.record import ROOT, commit, record


def gathered(
    benchmark: str, parts: Mapping[str, str], figures: Callable[[dict[str, Any]], dict[str, Any]], about: str
) -> None:
    """Runs the parts that are missing, or those named on the command line, and records what `figures` makes of all."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark}", description=about.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="measured again: " + ", ".join(parts))
    wanted = parser.parse_args().parts
    kept = ROOT / "outputs" / f"{benchmark}.parts.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for name in tqdm(wanted or [name for name in parts if name not in found], desc=benchmark, unit="part"):
        tqdm.write(f"python {parts[name]}")
        done = subprocess.run([sys.executable, *shlex.split(parts[name])], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{benchmark}: `python {parts[name]}` ended with status {done.returncode}.")
        found[name] = {"commit": commit(), "said": json.loads(done.stdout.splitlines()[-1])}
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.replace(kept)
    missing = [name for name in parts if name not in found]
    if missing:
        raise SystemExit(f"{benchmark}: still to be measured: {', '.join(missing)}.")
    said = {name: found[name]["said"] for name in parts}
    commits = {name: found[name]["commit"] for name in parts}
    record(benchmark, figures(said) | {"commits": commits}, " ".join(about.split()))
