"""Where a benchmark's figures go: one JSON line on the screen, and a file that says how they came about."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

from restore_jax import cpu

ROOT = pathlib.Path(__file__).parent.parent
LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "torch",
    "deepinv",
    "opencv-python-headless",
    "onnxruntime",
    "tensorflow-cpu",
)


def record(benchmark: str, figures: dict[str, Any], protocol: str) -> None:
    """Prints `figures` as the last line and writes `results/<benchmark>.json`, whole or not at all."""
    page = {
        "benchmark": benchmark,
        "figures": figures,
        "protocol": protocol,
        "hardware": {"cpu": cpu.model(), "cores": os.cpu_count(), "load_average": os.getloadavg()},
        "commit": commit(),
        "python": platform.python_version(),
        "libraries": _versions(),
        "utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    path = ROOT / "results" / f"{benchmark}.json"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(page, indent=2) + "\n")
    partial.replace(path)
    print(json.dumps(figures), flush=True)


def _versions() -> dict[str, str]:
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return {name: installed[name] for name in LIBRARIES if name in installed}


def commit() -> str:
    """What is checked out, and whether it was changed; results themselves do not count."""

    def git(*arguments: str) -> str:
        return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True).stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    return f"{commit or 'none'}{'-dirty' if changed else ''}"
