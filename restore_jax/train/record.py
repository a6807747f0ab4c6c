"""What a run was made with, how far it came, and what other runs beside it did.

    workdir/run.json    state, steps, images, seconds, and for each start: time, command, commit, versions, devices;
                        what was seen before by what it started from (`train.lineage`)

`images` and `seconds` grow at each checkpoint, compilation left out; the host's name is not written down.
"""

import datetime
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import restore_jax
from restore_jax import cpu

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Record:
    """The record of one workdir while a run is made in it; a context manager that ends it as it ends.

    Raises:
        ValueError: on entering, another process is training in this workdir.
    """

    def __init__(self, workdir: str | Path, writes: bool = True):
        self.path, self.writes = Path(workdir) / "run.json", writes
        self.content: dict[str, Any] = {}
        self._lock: Any = None
        self._begun, self._since, self._images = time.monotonic(), math.nan, 0

    @property
    def clocked(self) -> bool:
        """Whether the clock runs."""
        return not math.isnan(self._since)

    @property
    def minutes(self) -> float:
        """Since this start, compilation included."""
        return (time.monotonic() - self._begun) / 60

    def __enter__(self) -> "Record":
        if self.writes:
            self._lock = _locked(self.path.parent)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if self.content:
                self._end(kind, error)
        finally:
            if self._lock is not None:
                self._lock.close()

    def start(self, before: Callable[[], dict[str, str]] = dict) -> None:
        """Writes down that, and with what, the run is made from here; at the first start, what was `before` it."""
        if self.writes:
            known = _json(self.path)
            starts = [*known.get("starts", []), environment()]
            fresh = {"images": 0, "seconds": 0.0} | ({} if known else {"before": before()})
            self.content = {**fresh, **known, "state": "running", "starts": starts}
            self.content.pop("error", None)
            self._write()

    def begin(self, images: int) -> None:
        """The clock starts: so many images are done, and what had to be compiled is."""
        self._since, self._images = time.monotonic(), images

    def reached(self, images: int) -> None:
        """So many images are done and saved."""
        if self.content and self.clocked:
            now = time.monotonic()
            self.content["images"] += max(0, images - self._images)
            self.content["seconds"] = round(self.content["seconds"] + now - self._since, 3)
            self._since, self._images = now, images
            self._write()

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        stopped = isinstance(error, SystemExit | KeyboardInterrupt)
        self.content["state"] = "complete" if error is None else "interrupted" if stopped else "failed"
        if self.content["state"] == "failed":
            self.content["error"] = f"{kind.__name__ if kind else ''}: {error}".splitlines()[0][:500]
        try:
            self._write()
        except OSError:
            if error is None:
                raise  # a full disk that has ended the run is not to hide behind this file

    def _write(self) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.content, indent=1), encoding="utf-8")
        os.replace(partial, self.path)


def environment() -> dict[str, Any]:
    """Time, command line, commit, versions and devices of this process."""
    versions = {"python": sys.version.split()[0], "restore_jax": restore_jax.__version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    n = cpu.cores()
    on_cpu = f" ({n} core{'' if n == 1 else 's'}, {cpu.model()})" if devices[0].platform == "cpu" else ""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        **commit(Path(restore_jax.__file__).parent),
        "versions": versions,
        "devices": f"{len(devices)} {devices[0].device_kind}{on_cpu}",
        "processes": jax.process_count(),
    }


def commit(folder: Path) -> dict[str, Any]:
    """`{"commit": ..., "dirty": ...}` of the checkout that tracks the files of `folder`; empty where there is none."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        if not git("ls-files", "."):  # an installed package inside somebody's project
            return {}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", ":/"))}
    except (OSError, subprocess.SubprocessError):
        return {}


# ---------------------------------------------------------------------------------------------
# Reading the records of runs
# ---------------------------------------------------------------------------------------------


def runs(folder: str | Path, metric: str = "heldout_psnr", highest: bool = True) -> list[dict[str, Any]]:
    """A summary of every run in `folder` and below, by path."""
    found = sorted(path.parent for path in Path(folder).rglob("config.json") if is_run(path.parent))
    return [summary(one, metric, highest) for one in found]


def is_run(folder: Path) -> bool:
    """Whether a training run was begun in this folder."""
    return (folder / "config.json").is_file() and any(
        (folder / name).exists() for name in ("run.json", "table.jsonl", "checkpoints")
    )


def summary(workdir: str | Path, metric: str = "heldout_psnr", highest: bool = True) -> dict[str, Any]:
    """One run in a few numbers; what it does not say is None.

    path, label, state (running, complete, interrupted, failed), images, of, loss (the last row's), best (of `metric`,
    over the rows that have it), images_per_s, commit.
    """
    workdir = Path(workdir)
    config, content, rows = _json(workdir / "config.json"), _json(workdir / "run.json"), table(workdir)
    seconds, start = content.get("seconds", 0.0), (content.get("starts") or [{}])[-1]
    images, total = rows[-1]["images"] if rows else 0, config.get("images", 0)
    scores = [row[metric] for row in rows if math.isfinite(row.get(metric, math.nan))]
    ended = total > 0 and images + config.get("batch_size", 1) > total  # for runs that wrote no run.json
    state = content.get("state", "complete" if ended else "interrupted")
    if state == "running" and not _is_locked(workdir):
        state = "interrupted"  # it was killed
    return {
        "path": str(workdir),
        "label": config.get("label", workdir.name),
        "state": state,
        "images": images,
        "of": total,
        "loss": next((row["loss"] for row in reversed(rows) if "loss" in row), None),
        "best": (max if highest else min)(scores, default=None),
        "images_per_s": round(content.get("images", 0) / seconds, 2) if seconds else None,
        "commit": start["commit"][:10] + ("+" if start.get("dirty") else "") if "commit" in start else None,
    }


def table(workdir: str | Path) -> list[dict[str, float | int]]:
    """The rows of a run's table; one that is being written is left out."""
    path = Path(workdir) / "table.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def difference(a: str | Path, b: str | Path) -> dict[str, tuple[Any, Any]]:
    """The fields in which the configs of two runs differ, by dotted path: what `a` says and what `b` says."""
    old, new = _flat(_json(Path(a) / "config.json")), _flat(_json(Path(b) / "config.json"))
    return {name: (old.get(name), new.get(name)) for name in sorted(old | new) if old.get(name) != new.get(name)}


def beside(a: str | Path, b: str | Path) -> list[dict[str, Any]]:
    """The last value of everything that two runs logged, and the best of each: name, a, b."""
    last: list[dict[str, float | int]] = []
    for one in (a, b):
        last.append({})
        for row in table(one):
            last[-1].update(row)
    return [{"name": name, "a": last[0].get(name), "b": last[1].get(name)} for name in {**last[0], **last[1]}]


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None:
        return {path: tree}
    return {k: v for name, item in pairs for k, v in _flat(item, f"{path}.{name}" if path else str(name)).items()}


def _json(path: Path) -> dict[str, Any]:
    """What a file says; nothing where it is absent or was cut off."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _locked(workdir: Path) -> Any:
    """An open file that this process alone holds, until it closes it or ends; None where none can be made."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = open(workdir / "run.lock", "w", encoding="utf-8")  # noqa: SIM115  held while the run lasts
    except OSError:
        return None  # the checkpoints will say why nothing can be written here
    if not _hold(file):
        file.close()
        raise ValueError(f"{workdir} is being trained in by another process: wait for it, or choose another --workdir.")
    return file


def _is_locked(workdir: Path) -> bool:
    path = workdir / "run.lock"
    if not path.exists():
        return False
    with open(path, encoding="utf-8") as file:
        return not _hold(file)


def _hold(file: Any) -> bool:
    """Whether nobody else held it; true where the system or the disk knows no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
