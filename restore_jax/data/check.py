"""`check`: what is wrong with a folder of photographs before anybody trains on it.

    unreadable        cannot be decoded, with the reason
    tiny              a side below `least_px`
    duplicates        the same pixels, whatever the file (SHA-256 of the decoded photograph)
    near duplicates   the same photograph rescaled, compressed anew or brightened (difference hash)
    leaks             one of the above between the folder and those it will be measured on

The difference hash says of 9 x 8 cells of luma, row by row, whether each is darker than the next: 64 bits. Two
photographs are near when at most `threshold` bits differ and their cells differ by at most 6 of 255 on average, means
removed; the second condition parts smooth photographs (skies, pages), whose bits say little. A crop, a mirror image or
a turn of a photograph is another photograph to it.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm import tqdm

from restore_jax.data.sets.folder import Folder
from restore_jax.photo.read import PhotoError, read

ROWS, COLUMNS = 8, 9
CELL_LEVELS = 6.0
BLOCK = 2**23  # distances at a time: 64 MB


class Leak(NamedTuple):
    """A photograph of the folder, and one that it will be measured on."""

    name: str
    against: str
    bits: int
    """Of the difference hash that differ; -1 where the pixels are the same."""


@dataclass(frozen=True)
class Report:
    """What was found; `str` is for people, `dataclasses.asdict` for machines."""

    checked: int
    checked_against: int
    unreadable: tuple[tuple[str, str], ...] = ()
    tiny: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    leaks: tuple[Leak, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.unreadable or self.tiny or self.duplicates or self.near_duplicates or self.leaks)

    def __str__(self) -> str:
        against = f", against {self.checked_against} to be measured on" if self.checked_against else ""
        lines = [f"{self.checked} photographs checked{against}."]
        lines += _section("unreadable", [f"{name}: {why}" for name, why in self.unreadable])
        lines += _section("tiny", [f"{name}: {size}" for name, size in self.tiny])
        lines += _section("the same pixels", [_listed(group) for group in self.duplicates])
        lines += _section("nearly the same", [_listed(group) for group in self.near_duplicates])
        leaks = [(leak, "the same pixels" if leak.bits < 0 else f"{leak.bits} bits differ") for leak in self.leaks]
        lines += _section("leaked", [f"{leak.name} = {leak.against} ({how})" for leak, how in leaks])
        return "\n".join(lines if not self.is_clean else [*lines, "Nothing was found."])


@dataclass(frozen=True)
class _Seen:
    """What is remembered of a photograph."""

    name: str
    error: str = ""
    size: tuple[int, int] = (0, 0)
    sha: str = ""
    cells: np.ndarray | None = None


def check(
    folder: str | Path,
    against: Sequence[str | Path] = (),
    least_px: int = 64,
    threshold: int = 8,
    workers: int = 0,
) -> Report:
    """The faults of the photographs below `folder`, also towards those below each of `against`.

    Every photograph is decoded once, by `workers` threads (0: as many as there are cores); every two are compared by
    64 bits, about a minute for 85,000. Names are relative to their folder, those of `against` begin with it.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as `Folder`, for each folder.
        ValueError: a threshold outside 0 ... 64, or a negative `least_px`.
    """
    if not 0 <= threshold <= 64 or least_px < 0:
        raise ValueError(
            f"check.threshold is 0 ... 64 bits and check.least_px at least 0, not {threshold} and {least_px}."
        )
    ours = _see(str(folder), "", workers)
    theirs = [photo for other in against for photo in _see(str(other), f"{other}/", workers)]
    return Report(
        checked=len(ours),
        checked_against=len(theirs),
        unreadable=tuple((photo.name, photo.error) for photo in (*ours, *theirs) if photo.error),
        tiny=tuple(
            (photo.name, f"{photo.size[0]} x {photo.size[1]}")
            for photo in (*ours, *theirs)
            if not photo.error and min(photo.size) < least_px
        ),
        duplicates=tuple(group for group in _same(ours).values() if len(group) > 1),
        near_duplicates=_near_groups(ours, threshold),
        leaks=tuple(_leaks(ours, theirs, threshold)),
    )


def cells(photo: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "8 9"]:
    """The mean luma of 9 x 8 cells, rounded: flat places stay flat whatever noise a codec leaves there."""
    return np.asarray(Image.fromarray(photo).convert("L").resize((COLUMNS, ROWS), Image.Resampling.BOX))


def difference_hash(photo: UInt8[np.ndarray, "h w 3"]) -> int:
    """Whether each cell is darker than the one to its right: 64 bits, the upper left first.

    Reference: Krawetz, "Kind of Like That", 2013.
    """
    return int(_bits(cells(photo)[None])[0])


def _bits(cells: UInt8[np.ndarray, "n 8 9"]) -> np.ndarray:
    darker = cells[..., :-1] < cells[..., 1:]
    return np.packbits(darker.reshape(len(cells), -1), axis=-1).view(">u8")[:, 0].astype(np.uint64)


def _see(folder: str, prefix: str, workers: int) -> list[_Seen]:
    names = Folder(folder).names

    def see(name: str) -> _Seen:
        try:
            photo = read(Path(folder, name))
        except PhotoError as error:
            return _Seen(prefix + name, error=str(error).removeprefix(f"{Path(folder, name)}: "))
        sha = hashlib.sha256(str(photo.shape).encode())
        sha.update(np.ascontiguousarray(photo).data)
        return _Seen(prefix + name, "", photo.shape[:2], sha.hexdigest(), cells(photo))

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        return list(tqdm(pool.map(see, names), folder, len(names), unit="photo", leave=False))


def _same(photos: Iterable[_Seen]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for photo in photos:
        if not photo.error:
            groups[photo.sha] = (*groups.get(photo.sha, ()), photo.name)
    return groups


def _near_groups(photos: list[_Seen], threshold: int) -> tuple[tuple[str, ...], ...]:
    """Photographs that are near through others, one of each set of equal ones, in the order of their names."""
    once = list({photo.sha: photo for photo in reversed(photos) if not photo.error}.values())[::-1]
    leader = list(range(len(once)))

    def lead(i: int) -> int:
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]
        return i

    for i, j, _ in _near(once, once, threshold):
        if i < j:
            leader[max(lead(i), lead(j))] = min(lead(i), lead(j))
    groups: dict[int, list[str]] = {}
    for i, photo in enumerate(once):
        groups.setdefault(lead(i), []).append(photo.name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _leaks(ours: list[_Seen], theirs: list[_Seen], threshold: int) -> Iterator[Leak]:
    """Of each of ours that leaks, the nearest of theirs."""
    equal, (a, b) = _same(theirs), ([p for p in photos if not p.error] for photos in (ours, theirs))
    nearest: dict[int, tuple[int, int]] = {}
    for i, j, bits in _near(a, b, threshold):
        nearest[i] = min(nearest.get(i, (65, 0)), (bits, j))
    for i, photo in enumerate(a):
        if photo.sha in equal:
            yield Leak(photo.name, equal[photo.sha][0], -1)
        elif i in nearest:
            yield Leak(photo.name, b[nearest[i][1]].name, nearest[i][0])


def _near(a: list[_Seen], b: list[_Seen], threshold: int) -> Iterator[tuple[int, int, int]]:
    """The pairs (i of a, j of b, bits) that are near."""
    if not a or not b:
        return
    cells_a, cells_b = (np.stack([p.cells for p in photos if p.cells is not None]) for photos in (a, b))
    bits_a, bits_b = _bits(cells_a), _bits(cells_b)
    rows = max(1, BLOCK // len(b))
    for start in range(0, len(a), rows):
        distance = np.bitwise_count(bits_a[start : start + rows, None] ^ bits_b[None])
        for i, j in zip(*np.nonzero(distance <= threshold), strict=True):
            if _cell_levels(cells_a[start + i], cells_b[j]) <= CELL_LEVELS:
                yield int(start + i), int(j), int(distance[i, j])


def _cell_levels(a: UInt8[np.ndarray, "8 9"], b: UInt8[np.ndarray, "8 9"]) -> float:
    """The mean distance of the cells, means removed."""
    difference: Float[np.ndarray, "8 9"] = a.astype(np.float64) - b
    return float(np.abs(difference - difference.mean()).mean())


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"\n{title}: {len(lines)}", *(f"    {line}" for line in lines)] if lines else []


def _listed(group: tuple[str, ...]) -> str:
    more = f", and {len(group) - 4} more" if len(group) > 4 else ""
    return " = ".join(group[:4]) + more


def as_dict(report: Report) -> dict[str, object]:
    """The report as JSON holds it."""
    return {**dataclasses.asdict(report), "leaks": [leak._asdict() for leak in report.leaks]}
