"""A restorer on several sets: a row a picture, kept as it is made, and a row a set, in files for tables and plots.

    OUT/pictures.jsonl  a line a picture, appended as it is measured: what is there is not measured again
    OUT/pictures.csv    the same, for a spreadsheet
    OUT/results.json    {"rows": [...]}, a row a set: means over its pictures, and how they were made

A row of pictures.jsonl says model, set, degradation, picture; psnr (dB) and ssim as the protocol compares; perceptual
and niqe of the RGB picture without the protocol's border, null where the one's weights are not installed or a picture
is too small for the other; seconds, warm; megapixels of x; params, their bytes and nfe; the hashes of the weights, of
the protocol and of the set's pixels; the commit of the library.
"""

import csv
import dataclasses
import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import restore_jax
from restore_jax.core import Observation, Restorer
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import METRICS, weights_hash
from restore_jax.infer.tile import Tile
from restore_jax.metrics.niqe import Niqe
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.train.record import commit

Row = dict[str, Any]
MEASURED = ("psnr", "ssim", "perceptual", "niqe")
SAME = ("model", "set", "degradation", "protocol", "pictures", "weights", "commit")  # what makes two rows one
SIZES = ("nfe", "params", "bytes")
PATCH_PX = 96  # of NIQE


@dataclass(frozen=True)
class Column:
    """A set under a degradation, by name, and the protocol that they make.

    With `told`, a restorer is given the operator and the noise level too, as zero-shot samplers must be.
    """

    set: str
    degradation: str
    protocol: Protocol
    told: bool = False


def measure(
    restorer: Restorer, model: str, columns: Iterable[Column], out: Path, progress: Callable[[], object] | None = None
) -> list[Row]:
    """The rows of the sets, means over pictures; a second call with the same `out` goes on where the first stopped.

    A picture is restored twice where its size is new to the restorer, and the second time counts. `progress()` is
    called after each picture, measured or found. A row is found again if model, set, protocol, pixels, weights and
    commit are those of before.

    Raises:
        ValueError: an answer of another size than the photograph.
    """
    out.mkdir(parents=True, exist_ok=True)
    journal = out / "pictures.jsonl"
    known = {_place(row): row for row in _lines(journal)}
    about = {"model": model, **_sizes(restorer), "weights": weights_hash(restorer), "commit": here()}
    rows: list[list[Row]] = []
    for column in columns:
        stamp = {"protocol": column.protocol.stamp()["hash"], "pictures": column.protocol.pictures}
        alike = {**about, "set": column.set, "degradation": column.degradation, **stamp}
        rows.append([])
        for i, (name, _, _) in enumerate(column.protocol.cases):
            place = _place({**alike, "picture": name})
            if place not in known:
                known[place] = {**alike, "picture": name, **_picture(restorer, column, i)}
                with journal.open("a") as lines:
                    lines.write(json.dumps(known[place]) + "\n")
            rows[-1].append(known[place])
            if progress:
                progress()
    means = [mean(pictures) for pictures in rows]
    _write_csv(out / "pictures.csv", list(known.values()))
    write_json(out / "results.json", {"rows": merged(_rows(out / "results.json"), means)})
    return means


def mean(pictures: list[Row]) -> Row:
    """A set's row: means over its pictures, each with the same weight; seconds over all its megapixels."""
    first = pictures[0]
    measured = {name: _mean([row[name] for row in pictures]) for name in MEASURED}
    megapixels = sum(row["megapixels"] for row in pictures)
    return {
        **{name: first[name] for name in ("model", "set", "degradation")},
        **measured,
        **{name: first[name] for name in SIZES},
        "s_per_mp": sum(row["seconds"] for row in pictures) / megapixels,
        "count": len(pictures),
        **{name: first[name] for name in ("protocol", "pictures", "weights", "commit")},
    }


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """The rows of both in order, where both have a model's on a set under a degradation the new one."""
    named = {(row["model"], row["set"], row["degradation"]): row for row in (*old, *new)}
    return list(named.values())


def here() -> str | None:
    """The library's commit, with `+` where the checkout was changed; None for an installed package."""
    found = commit(Path(restore_jax.__file__).parent)
    return found["commit"][:12] + ("+" if found["dirty"] else "") if found else None


def write_json(path: Path, page: Any) -> None:
    """Writes a page with a line a row, whole or not at all."""
    rows = ",\n".join("  " + json.dumps(row) for row in page["rows"])
    _write(path, f'{{\n "rows": [\n{rows}\n ]\n}}\n')


# ---------------------------------------------------------------------------------------------
# One picture
# ---------------------------------------------------------------------------------------------


def _picture(restorer: Restorer, column: Column, i: int) -> Row:
    protocol = column.protocol
    name, obs, x = protocol.cases[i]
    key = jax.random.fold_in(jax.random.key(protocol.seed + 1), i)  # as `evaluate.run`
    known = obs if column.told else Observation(y=obs.y)  # what a user has, y alone
    shown = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], known)
    x_hat, seconds = _timed(restorer, key, shown)
    if x_hat.shape != x.shape:
        raise ValueError(
            f"{name}: the restorer answers {x_hat.shape} to {obs.y.shape}, and the photograph is {x.shape}: "
            "does its scale fit the degradation's?"
        )
    pair = [jnp.asarray(protocol.compared(picture)) for picture in (x_hat, x)]
    in_colour = dataclasses.replace(protocol, color="rgb")
    seen = [jnp.asarray(in_colour.compared(picture)) for picture in (x_hat, x)]
    figures = {metric: float(_jitted(function)(*pair)) for metric, function in METRICS.items()}
    figures |= {"perceptual": _perceptual(*seen), "niqe": _niqe(seen[0])}
    return {
        **{metric: value if math.isfinite(value or 0.0) else None for metric, value in figures.items()},
        "seconds": seconds,
        "megapixels": x.shape[0] * x.shape[1] / 1e6,
    }


_warm: set[tuple[int, Any]] = set()


def _timed(restorer: Restorer, key: Any, obs: Observation) -> tuple[np.ndarray, float]:
    """The restored picture, and the seconds of a restoration for which everything is compiled."""
    fixed = isinstance(restorer, Tile) and restorer.tile_px is not None
    place = (id(restorer), None if fixed else obs.y.shape)
    for _ in range(1 if place in _warm else 2):
        start = time.perf_counter()
        x_hat = np.asarray(restorer(key, obs))[0]
        seconds = time.perf_counter() - start
    _warm.add(place)
    return x_hat, seconds


@functools.cache
def _jitted(function: Any) -> Any:
    return jax.jit(function)


def _perceptual(x_hat: jax.Array, x: jax.Array) -> float | None:
    try:
        return float(_jitted(Perceptual())(x_hat, x))
    except ImportError:  # the extra "perceptual"
        return None


def _niqe(x_hat: jax.Array) -> float | None:
    h, w = (side // PATCH_PX * PATCH_PX for side in x_hat.shape[:2])  # the rest it leaves out: pictures share programs
    return None if min(h, w) < 2 * PATCH_PX else float(_jitted(Niqe())(x_hat[:h, :w]))  # few patches are no statistics


def _sizes(restorer: Any) -> Row:
    nfe = None
    while restorer is not None:
        nfe = getattr(restorer, "nfe", None) if nfe is None else nfe
        if hasattr(restorer, "params"):
            leaves = jax.tree.leaves(restorer.params)
            return {"nfe": nfe, "params": sum(a.size for a in leaves), "bytes": sum(a.nbytes for a in leaves)}
        restorer = getattr(restorer, "restorer", None)
    return {"nfe": nfe, "params": 0, "bytes": 0}


def _mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if len(there) == len(values) else None  # of all pictures, or it is no mean


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------


def _place(row: Row) -> tuple[Any, ...]:
    return (*(row[name] for name in SAME), row["picture"])


def _lines(journal: Path) -> Iterator[Row]:
    """The rows of a journal. The last line may be torn, by what stopped its writer: it is cut off."""
    if not journal.exists():
        return
    text = journal.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        _write(journal, whole)
    yield from (json.loads(line) for line in whole.splitlines())


def _rows(path: Path) -> list[Row]:
    return json.loads(path.read_text())["rows"] if path.exists() else []


def _write_csv(path: Path, rows: list[Row]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
