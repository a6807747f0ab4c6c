"""What is wrong with a photograph, and the model that mends it.

    denoise deblur jpeg          one damage          photo            several at once, unknown ones
    sr2 sr4                      small and sound     photo-sr4        small and damaged
    inpaint                      what a mask names

A folder of models is the place where tasks find theirs: each is a folder with a `model.json` (`methods.model`) whose
optional key "task" names what it is for. A model without the key answers for `sr2` or `sr4` if it enlarges so.

    auto    of the tasks that the folder has models for, the first whose damage a photograph has (`Damage.tasks`)
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from restore_jax import zoo
from restore_jax.core import Keys, Observation, Restorer
from restore_jax.infer.around import Around
from restore_jax.infer.colour import Colour
from restore_jax.infer.ensemble import Ensemble
from restore_jax.infer.estimate import blockiness, blur_px, jpeg_quality, noise_std
from restore_jax.infer.grain import Grain
from restore_jax.infer.jobs import Behind
from restore_jax.infer.load import load
from restore_jax.infer.restoration import Rows
from restore_jax.infer.samples import Samples
from restore_jax.infer.spread import Spread
from restore_jax.infer.strength import Strength
from restore_jax.infer.tile import Progress, Tile
from restore_jax.methods.model import is_model, located

TASKS = {"photo": 1, "denoise": 1, "sr2": 2, "sr4": 4, "photo-sr4": 4, "deblur": 1, "jpeg": 1, "inpaint": 1}  # scales
NOISE_STD, BLUR_PX, BLOCKINESS = 0.035, 1.6, 1.35  # above what sound photographs have by themselves
FEW_SIZES = 4  # of photographs, up to which each has tiles and a program of its own
SHARED_AREA = 2**20  # pixels of x in a tile that photographs of more sizes share: larger ones overlap more


class NoModel(ValueError):
    """A task without a model; the message says where to get one."""


@dataclass(frozen=True)
class Damage:
    """What `infer.estimate` finds in a photograph."""

    noise_std: float
    blur_px: float
    blockiness: float
    jpeg_quality: float | None = None

    @classmethod
    def of(cls, y: Any, file: Path | bytes | None = None) -> "Damage":
        """The estimates of a picture `h w c`, and of the file that it came in; about a second, whatever the size."""
        quality = None if file is None else jpeg_quality(file)
        return cls(noise_std(y), blur_px(y), blockiness(y), quality)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What would mend it, the most visible damage first; blocks before noise, which they would be taken for.

        Where there are several, what mends all of them at once comes first, and else last.
        """
        found = {
            "jpeg": self.blockiness >= BLOCKINESS,
            "denoise": self.noise_std >= NOISE_STD,
            "deblur": self.blur_px >= BLUR_PX,
        }
        tasks = tuple(task for task, there in found.items() if there)
        return ("photo", *tasks) if len(tasks) > 1 else (*tasks, *["photo"] * len(tasks))

    def __str__(self) -> str:
        quality = "" if self.jpeg_quality is None else f", JPEG quality {self.jpeg_quality:.0f}"
        return (
            f"noise {255 * self.noise_std:.1f}/255, blur {self.blur_px:.1f} px, blockiness {self.blockiness:.2f}"
            f"{quality}"
        )


# ---------------------------------------------------------------------------------------------
# Models by task
# ---------------------------------------------------------------------------------------------


def card_of(model: str | Path) -> dict[str, Any]:
    """What model.json says; empty for a training run.

    Raises:
        NoModel: it is no JSON.
    """
    if not is_model(model):
        return {}
    try:
        return json.loads((Path(model) / "model.json").read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NoModel(f"{model}/model.json is damaged ({error}): import the model again.") from error


def task_of(card: Mapping[str, Any]) -> str | None:
    """The task of a model: what its card says, or that of its scale; None where neither tells."""
    by_scale = {2: "sr2", 4: "sr4"}
    return card.get("task") or by_scale.get(card.get("scale", 1))


def models_in(folder: str | Path) -> dict[str, Path]:
    """The model of each task among the folders in `folder`, by name the first; empty where there is no such folder."""
    found: dict[str, Path] = {}
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else ():
        task = task_of(card_of(path)) if is_model(path) else None
        if task is not None:
            found.setdefault(task, path)
    return found


def model_for(task: str, folder: str | Path) -> Path:
    """The model of a task.

    Raises:
        NoModel: the folder has none.
    """
    found = models_in(folder)
    if task not in found:
        have = f"it has models for {', '.join(found)}" if found else "it has no model that names its task"
        raise NoModel(
            f"no model for the task {task} in {folder} ({have}): give one by --model, or `restore-jax import WEIGHTS "
            f"-o {Path(folder) / task} --task {task}`."
        )
    return found[task]


def stamp(model: str | Path) -> str:
    """What tells a model from another: the hash of its numbers; of other files, when they were last written to."""
    card = card_of(model)
    if card:
        return str(card.get("params_sha256", ""))
    files = [Path(model), *Path(model).rglob("*")]
    return str(max((path.stat().st_mtime_ns for path in files if path.is_file()), default=0))


# ---------------------------------------------------------------------------------------------
# Restorers of a task
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fill(Around):
    """`y + (1 - seen) (x_hat - y)`, `seen = obs.cond["mask"]`: only what is missing is painted, y stays bit for bit."""

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The picture with its holes filled.

        Raises:
            ValueError: the observation has no mask.
        """
        if "mask" not in obs.cond:
            raise ValueError('Fill.restorer is given no cond["mask"]: 1 where a pixel was seen, 0 where it is missing.')
        y, x_hat = jnp.asarray(obs.y), jnp.asarray(self.restorer(key, obs))
        return jnp.where(jnp.asarray(obs.cond["mask"]) > 0.5, y, x_hat)


@dataclass(frozen=True)
class Finish:
    """What is done around a model: self-ensemble, colour fix, strength, samples, grain, in this order.

    `grain` is a standard deviation. `spread` asks for the spread's channels behind those of the picture.

    Raises:
        ValueError: a number outside its range, or more than one sample of a restorer that draws nothing.
    """

    strength: float = 1.0
    ensemble: bool = False
    colour: bool = False
    samples: int = 1
    grain: float = 0.0
    spread: bool = False
    fill: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (("strength", 0, 1), ("samples", 1, 64), ("grain", 0, 1)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"Finish.{name} lies in [{least}, {most}], not {getattr(self, name)}.")
        if self.fill and (self.colour or self.strength != 1):
            raise ValueError("Finish.fill paints holes, which have no colour of their own: no strength, no colour fix.")

    def __call__(self, restorer: Restorer) -> Restorer:
        """The restorer, finished."""
        if self.samples > 1 and not restorer.draws:
            raise ValueError(
                f"Finish.samples = {self.samples}, and the model draws nothing: all its samples are one. Leave it out."
            )
        if self.ensemble:
            restorer = Ensemble(restorer)
        if self.colour:
            restorer = Colour(restorer)
        if self.strength != 1:
            restorer = Strength(restorer, self.strength)
        if self.fill:
            restorer = Fill(restorer)
        if self.spread:
            return Spread(restorer, max(2, self.samples), self.grain)
        if self.samples > 1:
            restorer = Samples(restorer, self.samples)
        return Grain(restorer, self.grain) if self.grain else restorer


@dataclass(frozen=True, eq=False)
class Tasks:
    """The tiled restorers of tasks, each loaded when it is first asked for.

    `model` serves every task; else tasks look theirs up in `models`. `short_px` is about the shorter side of the
    smallest of many photographs of different sizes, which then share one program; None takes tiles that fit each.
    `load` makes a restorer of a model's path; one that says what tiles it wants (`tile_px`, `batch`, `area_px`, as of
    `Tile`) gets those.

    Raises:
        ValueError: an unknown task.
    """

    task: str = "auto"
    model: str | Path | None = None
    models: str | Path = zoo.FOLDER
    finish: Finish = Finish()
    tile_px: int | None = None
    overlap_px: int | None = None
    short_px: int | None = None
    say: Callable[[str], None] = print
    load: Callable[[Path], Restorer] = load

    def __post_init__(self) -> None:
        if self.task not in ("auto", *TASKS):
            raise ValueError(f"Tasks.task is auto, {', '.join(TASKS)}, not {self.task!r}.")

    @cached_property
    def _tiles(self) -> dict[Path, Tile]:
        return {}

    @cached_property
    def found(self) -> dict[str, Path]:
        """The models of the folder, by task; under `task` the one that was given."""
        if self.model is not None:
            return {self.task: located(self.model)}
        if self.task != "auto":
            return {self.task: model_for(self.task, self.models)}
        found = {task: path for task, path in models_in(self.models).items() if TASKS.get(task) == 1}
        if not found:
            raise NoModel(
                f"no model in {self.models} that --task auto could choose: give one by --model, or a --task; "
                "`restore-jax import` and `pack` make models, and --task says what for."
            )
        return found

    @property
    def stamp(self) -> dict[str, str]:
        """What tells the models from others, by task."""
        return {task: stamp(path) for task, path in self.found.items()}

    def chosen(self, damage: Damage | None) -> str | None:
        """The task of a photograph: the given one; with `auto` that of its damage, None with nothing to mend."""
        if self.task in self.found:
            return self.task
        return next((task for task in (damage.tasks if damage else ()) if task in self.found), None)

    def tile(self, task: str) -> Tile:
        """The restorer of a task.

        Raises:
            ValueError: the model enlarges by another scale than the task, or is for grey pictures.
        """
        path = self.found[task]
        if path not in self._tiles:
            if card_of(path).get("channels", 3) != 3:
                raise NoModel(f"{path} is a model for grey pictures: `restore-jax photo` needs one for colour.")
            own = self.load(path)
            restorer = self.finish(own)
            if restorer.scale != TASKS.get(task, restorer.scale):
                raise NoModel(f"{path} enlarges by {restorer.scale}, and {task} by {TASKS[task]}: give another model.")
            tile_px = getattr(own, "tile_px", self.tile_px)
            batch, area_px = getattr(own, "batch", None), getattr(own, "area_px", None)
            tile = Tile(restorer, tile_px, self.overlap_px, batch, area_px=area_px, say=self.say)
            if tile_px is None and self.short_px is not None:
                side = shared_side(tile, self.short_px)
                tile = Tile(restorer, side, self.overlap_px, batch=1, say=self.say)
            self._tiles[path] = tile
        return self._tiles[path]


def shared_side(tile: Tile, short_px: int) -> int:
    """The side of tiles that photographs of many sizes can share.

    The shorter side of the smallest, `short_px`, but no more than the memory of a tile allows, and no less than what
    leaves a quarter of it inside its halo.
    """
    most = int((SHARED_AREA / tile.scale**2) ** 0.5)
    least = max(4 * tile.halo, 2 * tile.halo + tile.unit, 128)
    return max(least, min(most, short_px)) // tile.unit * tile.unit


def restore_rows(
    tile: Tile,
    key: Keys,
    photo: Any,
    sink: Any,
    seen: Float32[np.ndarray, "h w 1"] | None = None,
    progress: Progress | None = None,
) -> None:
    """Restores a photograph into a sink, which does its work in another thread.

    Raises:
        ValueError: `seen` has another size than the photograph.
    """
    if seen is not None and seen.shape[:2] != (photo.height, photo.width):
        raise ValueError(
            f"the mask has {seen.shape[1]} x {seen.shape[0]} pixels, the photograph {photo.width} x {photo.height}: "
            "make them alike."
        )
    obs = None if seen is None else Observation(y=None, cond={"mask": seen})
    with Behind(sink) as out:
        tile.stream(key, Rows(photo, seen), out, obs, progress=progress)
