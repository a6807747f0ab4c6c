"""Numbers side by side: a row a restorer, a column a set; one column takes numbers of one protocol only."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from restore_jax.evaluate.protocol import Protocol

FORMATS = {"psnr": "{:.3f}", "ssim": "{:.4f}"}


@dataclass(frozen=True)
class Entry:
    """What one restorer reached on one set: means over its photographs, the protocol's stamp, the weights' hash."""

    restorer: str
    column: str
    metrics: dict[str, float]
    stamp: dict[str, Any]
    weights: str | None = None


def entry(restorer: str, column: str, rows: Sequence[dict[str, Any]], protocol: Protocol) -> Entry:
    """Of the rows that `evaluate.run.evaluate` gave, the last, their mean.

    Raises:
        ValueError: the rows were made under another protocol.
    """
    mean, stamp = rows[-1], protocol.stamp()
    if mean["protocol"] != stamp["hash"]:
        raise ValueError(f"{restorer}, {column}: the rows are of protocol {mean['protocol']}, not {stamp['hash']}.")
    metrics = {name: value for name, value in mean.items() if name not in ("photograph", "protocol", "weights")}
    return Entry(restorer, column, metrics, stamp, mean["weights"])


def check(entries: Iterable[Entry]) -> None:
    """That the numbers in a column can be compared.

    Raises:
        ValueError: two of a column have different protocols, and in which field they differ; or a place is taken twice.
    """
    first: dict[str, Entry] = {}
    places: set[tuple[str, str]] = set()
    for one in entries:
        if (one.restorer, one.column) in places:
            raise ValueError(f"{one.restorer} stands twice in column {one.column}.")
        places.add((one.restorer, one.column))
        other = first.setdefault(one.column, one)
        if one.stamp["hash"] != other.stamp["hash"]:
            a, b = _flat(other.stamp), _flat(one.stamp)
            fields = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name) and name != "hash"]
            differ = "; ".join(f"{name} is {a.get(name)!r} and {b.get(name)!r}" for name in fields)
            raise ValueError(
                f"column {one.column}: {other.restorer} and {one.restorer} were measured differently: {differ}. "
                "Measure them alike, or give them columns of their own."
            )


def markdown(entries: Sequence[Entry]) -> str:
    """The table, with the hash of each column's protocol below its name.

    Raises:
        ValueError: as `check`.
    """
    check(entries)
    columns = {one.column: one.stamp["hash"] for one in entries}
    cells = {(one.restorer, one.column): _cell(one.metrics) for one in entries}
    head = ["restorer", *(f"{name} ({digest})" for name, digest in columns.items())]
    lines = [head, ["---", *("---:" for _ in columns)]]
    for restorer in dict.fromkeys(one.restorer for one in entries):
        lines.append([restorer, *(cells.get((restorer, column), "") for column in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def records(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The entries as plain data for a JSON file.

    Raises:
        ValueError: as `check`.
    """
    check(entries)
    return [asdict(one) for one in entries]


def _cell(metrics: dict[str, float]) -> str:
    return " / ".join(FORMATS.get(name, "{:.4g}").format(value) for name, value in metrics.items())


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for name, inner in tree.items() for k, v in _flat(inner, f"{path}.{name}" if path else name).items()}
