"""The sets that papers measure on, by name, wherever below a folder they lie as people have them.

    ROOT/Set5/HR/baby.png                        ROOT/Set5/LR_bicubic/X4/babyx4.png      or babyx4.png beside no scale
    ROOT/Set5/GTmod12/baby.png                   ROOT/Set5/LRbicx4/baby.png              as BasicSR has them
    ROOT/Set5/image_SRF_4/img_001_SRF_4_HR.png   the same with _LR for _HR               as SelfExSR has them
    ROOT/Kodak24/kodim01.png                     photographs alone, degraded here
    ROOT/GoPro/test/GOPR0384_11_00/sharp/000001.png, and blur for sharp

ROOT may have them in a `benchmark` folder, or be the set's own folder. Photographs come in the order of their names,
numbers in them as numbers, so that the same pictures get the same noise however they lie.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from restore_jax.data.sets.folder import SUFFIXES
from restore_jax.data.sets.pairs import shown
from restore_jax.photo.read import read

Files = dict[str, Path]


@dataclass(frozen=True)
class Known:
    """A set: how many photographs it has, and what its folder is called; `index`, a list of those that are its."""

    photographs: int
    folders: tuple[str, ...]
    index: str = ""
    stored: tuple[tuple[str, str], ...] = ()  # folders of the clean and the observed, of a set of real pairs
    scale: int = 1  # of those


SETS = {
    "Set5": Known(5, ("Set5",)),
    "Set14": Known(14, ("Set14",)),
    "BSD100": Known(100, ("BSD100", "B100", "BSDS100"), "B100_index.txt"),
    "CBSD68": Known(68, ("CBSD68", "BSD100", "BSDS300"), "CBSD68.txt"),
    "Urban100": Known(100, ("Urban100",)),
    "Kodak24": Known(24, ("Kodak24", "Kodak")),
    "McMaster": Known(18, ("McMaster", "McM")),
    "DIV2K": Known(100, ("DIV2K", "DIV2K_valid_HR")),
    "LIVE1": Known(29, ("LIVE1",)),
    "classic5": Known(5, ("classic5",)),
    "SIDD": Known(
        1280, ("SIDD",), stored=(("val/gt_crops", "val/input_crops"), ("val/target", "val/input"), ("GT", "noisy"))
    ),
    "GoPro": Known(
        1111,
        ("GoPro", "GOPRO_Large"),
        stored=(("test/*/sharp", "test/*/blur"), ("test/target", "test/input"), ("test/sharp", "test/blur")),
    ),
    "RealSR": Known(100, ("RealSR",), stored=(("HR", "LR_x4"), ("HR", "LR"), ("test_HR", "test_LR")), scale=4),
}
OWN = {"CBSD68": ("CBSD68",)}  # folders that hold the set and nothing else, so that no index is needed
CLEAN = ("HR", "original", "original_png", "original_jpg", "GT", "images", "DIV2K_valid_HR", "GTmod12", "")
PAIRED = ("HR", "GTmod12", "GTmod{s}", "image_SRF_{s}", "original_jpg", "original", "DIV2K_valid_HR", "")
OBSERVED = (
    "LR_bicubic/X{s}",
    "LRbicx{s}",
    "image_SRF_{s}",
    "DIV2K_valid_LR_bicubic/X{s}",
    "../DIV2K_valid_LR_bicubic/X{s}",
    "X{s}",
)
KIND = re.compile(r"(_SRF_\d)?(_(?P<kind>HR|LR|GT)\d?)?$")
NUMBERED = re.compile(r"img_\d+")


class NoSet(FileNotFoundError):
    """A set that is not to be found; the message names the places that were looked at."""


@dataclass(frozen=True)
class Standard:
    """The photographs of a set: `len(s)`, `s[i] -> uint8 h w 3`, `s.names`.

    `root` says where sets lie and nothing about what they are: no stamp holds it.

    Raises:
        ValueError: an unknown set, or one of real pairs (`StandardPairs` reads those).
        NoSet: it is not there.
    """

    set: str
    root: str

    def __post_init__(self) -> None:
        if _known(self.set).stored:
            raise ValueError(f"{self.set} is a set of real pairs, photographs and what was observed: it has its own.")
        _ = self._files

    @cached_property
    def _files(self) -> Files:
        looked: list[Path] = []
        for home in _homes(self.set, self.root, looked):
            for folder in CLEAN:
                looked.append(home / folder)
                if files := _indexed(self.set, home, _pictures(home / folder, "LR")):
                    return files
        raise _absent(self.set, self.root, looked)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the photographs, without suffix."""
        return tuple(self._files)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return read(self._files[self.names[index]])


@dataclass(frozen=True)
class StandardPairs:
    """A set with stored observations: `len(s)`, `s[i] -> (y, x)`, both uint8 `h w 3`, `s.names`.

    With `scale` 2, 3 or 4 the small pictures that MATLAB's bicubic reduction made and people pass on; with 0 what a
    set of real pairs was observed as. A photograph loses the rows and columns that its observation does not show.

    Raises:
        ValueError: an unknown set, one without real pairs, files that do not pair, or pictures whose sizes do not.
        NoSet: it is not there, or its observations are not.
    """

    set: str
    root: str
    scale: int = 0

    def __post_init__(self) -> None:
        if self.scale == 0 and not _known(self.set).stored:
            raise ValueError(f"{self.set} has photographs alone: ask for a degradation of them.")
        _ = self._files

    @cached_property
    def _files(self) -> dict[str, tuple[Path, Path]]:
        looked: list[Path] = []
        for home in _homes(self.set, self.root, looked):
            clean, observed = self._clean(home, looked), self._observed(home, looked)
            if clean and observed:
                return _paired(self.set, clean, observed)
        raise _absent(self.set, self.root, looked)

    def _clean(self, home: Path, looked: list[Path]) -> Files:
        if self.scale:
            folders = [home / folder.format(s=self.scale) for folder in PAIRED]
            return _first(folders, looked, lambda path: _indexed(self.set, home, _pictures(path, "LR")))
        return _first([home / clean for clean, _ in _known(self.set).stored], looked, _clips)

    def _observed(self, home: Path, looked: list[Path]) -> Files:
        if self.scale:
            reduced = OBSERVED if _is_its_own(self.set, home) else ()  # those of another set are not its
            folders = [home / folder.format(s=self.scale) for folder in reduced]
            return _first(folders, looked, lambda path: _pictures(path, "HR", self.scale))
        return _first([home / observed for _, observed in _known(self.set).stored], looked, _clips)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the photographs, without suffix."""
        return tuple(self._files)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "H W 3"]]:
        clean, observed = self._files[self.names[index]]
        y, x = read(observed), read(clean)
        return y, shown(x, y, self.scale or _known(self.set).scale, clean.name, observed)


def _known(name: str) -> Known:
    if name not in SETS:
        raise ValueError(f"{name!r} is none of the standard sets: {', '.join(SETS)}.")
    return SETS[name]


def _homes(name: str, root: str, looked: list[Path]) -> Iterator[Path]:
    """The folders that may be the set's, upper case or lower."""
    wanted = [folder.lower() for folder in _known(name).folders]
    if Path(root).name.lower() in wanted:
        yield Path(root)
    for above in (Path(root), Path(root, "benchmark")):
        inside = {path.name.lower(): path for path in above.iterdir() if path.is_dir()} if above.is_dir() else {}
        looked += [above / folder for folder in _known(name).folders if folder.lower() not in inside]
        yield from (inside[folder] for folder in wanted if folder in inside)


def _pictures(folder: Path, without: str = "", scale: int = 0) -> Files:
    """The pictures right in a folder by name, in order, less those of the kind `without` (HR or LR)."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        ending = KIND.search(path.stem)
        mixed = "_SRF_" in path.stem  # only there are both kinds in one folder
        if not (mixed and without and ending and ending["kind"] == without):
            name = KIND.sub("", path.stem)
            found[re.sub(rf"x{scale}$", "", name) if scale else name] = path
    return {name: found[name] for name in sorted(found, key=_order)}


def _clips(pattern: Path) -> Files:
    """The pictures of a folder, or of each that a pattern with `*` fits, under the name of what the star stands for."""
    if "*" not in pattern.parts:
        return _pictures(pattern)
    at = pattern.parts.index("*")
    above, below = Path(*pattern.parts[:at]), Path(*pattern.parts[at + 1 :])
    clips = sorted(clip for clip in above.iterdir() if clip.is_dir()) if above.is_dir() else ()
    return {f"{clip.name}/{name}": path for clip in clips for name, path in _pictures(clip / below).items()}


def _first(folders: list[Path], looked: list[Path], read_files: Callable[[Path], Files]) -> Files:
    for folder in folders:
        looked.append(folder)
        if files := read_files(folder):
            return files
    return {}


def _indexed(name: str, home: Path, files: Files) -> Files:
    """Of the files those that the set's index names, by its names for them; all of them in a folder of its own."""
    index = home / _known(name).index
    if not _known(name).index or not index.is_file():
        return files if _is_its_own(name, home) else {}
    lines = [line.split() for line in index.read_text().splitlines() if line.strip()]
    if {line[0] for line in lines} <= set(files):
        return {one: files[one] for one in sorted((line[0] for line in lines), key=_order)}
    if not {line[-1] for line in lines} <= set(files):
        return {}
    found = {line[0]: files[line[-1]] for line in lines}
    return {one: found[one] for one in sorted(found, key=_order)}


def _is_its_own(name: str, home: Path) -> bool:
    return name not in OWN or home.name.lower() in {folder.lower() for folder in OWN[name]}


def _paired(name: str, clean: Files, observed: Files) -> dict[str, tuple[Path, Path]]:
    if set(clean) <= set(observed):
        return {one: (clean[one], observed[one]) for one in clean}
    if len(clean) == len(observed) and all(NUMBERED.fullmatch(one) for one in observed):  # the order is all there is
        return {one: (clean[one], path) for one, path in zip(clean, observed.values())}
    alone = [one for one in clean if one not in observed]
    places = f"{next(iter(clean.values())).parent} and {next(iter(observed.values())).parent}"
    raise ValueError(f"{name}: {places} do not pair: {alone[0]} was observed nowhere, and {len(alone) - 1} more.")


def _order(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", name) if part]


def _absent(name: str, root: str, looked: list[Path]) -> NoSet:
    places = (
        "\n".join(f"    {path}" for path in dict.fromkeys(looked)) or "    nothing, for the folder itself is absent"
    )
    return NoSet(f"{name} is not below {Path(root).absolute()}. Looked for\n{places}")


EXAMPLES = ()  # needs folders
