"""Large photographs, tile by tile, on one small compiled program.

    x_hat = sum over tiles of  window * restorer(y[tile]),      windows sum to 1 and are 0 in the halo

The halo is how far the network sees. Behind it a tile knows all that the whole picture knows, so that the tiled
restoration *is* the whole one (to rounding) for every restorer whose operations are local. Where something looks at the
whole picture (`net.local` is False), windows overlap and fade; `infer.statistics` makes pooled attention exact.

Rows come from a source and go to a sink (`infer.bands`) while the picture is restored: the host holds the rows of
one row of tiles, the device one batch of tiles, whatever the height of the photograph.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from restore_jax.core import Keys, Observation, Restorer, split
from restore_jax.cpu import give_back_freed_memory
from restore_jax.infer.around import is_local
from restore_jax.infer.bands import ArraySink, Part, Window, mapped, mirrored, part_of
from restore_jax.infer.grid import Axis, fitted
from restore_jax.infer.noise import normal_part

Progress = Callable[[int, int], None]
Say = Callable[[str], None]
AREA, BATCH, MEMORY_MB = 2**22, 4, 600.0  # pixels of x a tile, tiles at a time, what a program's temporaries may take


def to_stderr(text: str) -> None:
    """A line for whoever watches."""
    sys.stderr.write(f"{text}\n")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, the host's or the device's."""
    full = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return full or isinstance(error, MemoryError)


class _Short(Exception):
    """Memory was short for a batch of tiles: only then is a smaller one tried, whatever a sink may raise."""


@dataclass(frozen=True)
class Room:
    """The size of tiles, in pixels of y, and how many at a time."""

    height: int
    width: int
    batch: int


@dataclass(frozen=True)
class Extras:
    """What goes with y: arrays on the grid of x, cut as it is, and others, which every tile sees alike."""

    parts: Mapping[str, Part]
    alike: Mapping[str, Any]
    noise_std: Any = None


@dataclass(frozen=True, eq=False)
class Tile:
    """`restorer`, applied to tiles of `tile_px` x `tile_px` pixels of y, `batch` at a time.

    `tile_px = None` takes tiles, not always square, that cover the picture with the least overlap in about `memory_mb`
    MB of the program's temporaries (600, or half of what an accelerator has), as the compiler reports them: one
    program a size of photograph; `area_px` is the most pixels of x that they have. A given `tile_px` is one for all.

    `overlap_px` (of y, on each side) is the halo; None takes the restorer's own `halo_px`, which makes the
    result exact where the restorer is local. A smaller one, for samplers whose many evaluations see the whole picture,
    trades a difference that fades under the windows for speed. Noise is that of the whole picture at the tile's place,
    so that overlapping tiles sample the same picture; a sampler that draws more of it in its steps is tiled by
    `infer.denoiser`.

    Arrays of obs.cond on the grid of x are cut with y; other conditions and noise_std go to every tile as they are. An
    operator speaks of the whole picture and is left out.

    Memory that is short halves the tile, at the smallest one the batch, says so, and goes on with the first row that
    is not finished.

    Raises:
        ValueError: the tile leaves no room inside its halo, or is off the network's grid.
    """

    restorer: Restorer
    tile_px: int | None = None
    overlap_px: int | None = None
    batch: int | None = None
    memory_mb: int | None = None
    area_px: int | None = None
    say: Say = to_stderr

    def __post_init__(self) -> None:
        for name in ("batch", "memory_mb", "area_px"):
            if (getattr(self, name) or 1) < 1:
                raise ValueError(f"Tile.{name} must be at least 1, not {getattr(self, name)}.")
        if self.overlap_px is not None and self.overlap_px < 0:
            raise ValueError(f"Tile.overlap_px must be 0 or more, not {self.overlap_px}.")
        if self.tile_px is None:
            return
        if self.tile_px % self.unit or self.tile_px < 1:
            raise ValueError(f"Tile.tile_px must be a multiple of {self.unit} for this network, not {self.tile_px}.")
        if self.tile_px < self._least:
            raise ValueError(
                f"Tile.tile_px = {self.tile_px} leaves no room inside a halo of {self.halo} pixels a side: "
                f"take at least {self._least}, or a smaller overlap_px."
            )

    @property
    def scale(self) -> int:
        """As the restorer's."""
        return self.restorer.scale

    @property
    def draws(self) -> int:
        """As the restorer's."""
        return self.restorer.draws

    @property
    def unit(self) -> int:
        """Tiles start and end on multiples of this many pixels of y: the network's grid."""
        return math.lcm(getattr(self.restorer, "factor", 1), self.scale) // self.scale

    @property
    def halo(self) -> int:
        """Pixels of y on each inner side of a tile that answer for nothing."""
        halo = self._own_halo if self.overlap_px is None else self.overlap_px
        return -(-halo // self.unit) * self.unit

    @property
    def exact(self) -> bool:
        """Whether tiled is whole: the halo covers what a pixel sees."""
        return is_local(self.restorer) and self.halo >= self._own_halo

    @property
    def _own_halo(self) -> int:
        return -(-getattr(self.restorer, "halo_px", 0) // self.scale)

    @property
    def _least(self) -> int:
        return 2 * self.halo + self.unit

    @cached_property
    def _programs(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _rooms(self) -> dict[tuple[int, int], Room]:
        """What has been found to fit, by the size of the picture; by (0, 0) the area at which memory ran out."""
        return {}

    # -----------------------------------------------------------------------------------------
    # Arrays and streams
    # -----------------------------------------------------------------------------------------

    def __call__(self, key: Keys, obs: Observation, progress: Progress | None = None) -> Float[np.ndarray, "*b h w c"]:
        """The restored photographs, on the host; y is `h w c` or a batch of them, floats or levels.

        `progress(done, total)` is called after each batch of tiles of a photograph.
        """
        y = np.asarray(obs.y)
        if y.ndim == 3:
            return self._photograph(key, y, obs, 0, progress)
        one_key = key.ndim == 0
        pictures = []
        for i, one in enumerate(y):
            cond = {name: a[i] if np.ndim(a) and np.shape(a)[0] == len(y) else a for name, a in obs.cond.items()}
            std = obs.noise_std[i] if np.ndim(obs.noise_std) == 4 else obs.noise_std
            own = dataclasses.replace(obs, y=one, cond=cond, noise_std=std)
            pictures.append(self._photograph(key if one_key else key[i], one, own, i if one_key else 0, progress))
        return np.stack(pictures)

    def _photograph(self, key: Keys, y: np.ndarray, obs: Observation, i: int, progress: Progress | None) -> np.ndarray:
        h, w, c = y.shape
        out = np.zeros((h * self.scale, w * self.scale, c), np.float32)
        self.stream(key, y, ArraySink(out), obs, i, progress)
        return out

    def stream(
        self,
        key: Keys,
        source: Any,
        sink: Any,
        obs: Observation | None = None,
        index: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Restores the rows of `source` (an array, or an `infer.bands.Source`) into `sink`, in order, each once.

        `obs` says what else is known (its y is not looked at); the picture has the noise of picture `index` of a batch.

        Raises:
            MemoryError: even the smallest tile does not fit; the sink has the rows that were finished.
        """
        picture = Window(source, self.unit)
        h, w, _ = picture.size
        height, width, _ = picture.shape
        extras, room, _ = self.plan(key, picture, obs, index)
        begin = done = 0  # rows of y: where tiles begin, and how many are finished
        while done < height:
            axes = (self._axis(height, room.height, begin), self._axis(width, room.width, 0))
            try:
                for bottom, rows in self._rows(key, picture, extras, axes, room.batch, progress):
                    rows = rows[(done - begin) * self.scale :]  # the others were finished before memory ran short
                    new = (min(bottom, h) - min(done, h)) * self.scale
                    begin = done = bottom
                    sink.write(rows[:new, : w * self.scale])
            except _Short as short:
                room = self._less(room, short)
                begin = max(0, done - self.halo)
        self._rooms[h, w] = room

    def plan(
        self, key: Keys, picture: Window, obs: Observation | None = None, index: int = 0
    ) -> tuple[Extras, Room, tuple[Axis, Axis]]:
        """What goes with y, the tiles to begin with, and where they lie."""
        extras = self._extras(key, picture, obs, index)
        room = self._room(key, picture, extras)
        height, width, _ = picture.shape
        return extras, room, (self._axis(height, room.height, 0), self._axis(width, room.width, 0))

    def _axis(self, size: int, tile: int, begin: int) -> Axis:
        return Axis(size, min(tile, size), self.halo, self.unit, not self.exact, begin)

    def _extras(self, key: Keys, picture: Window, obs: Observation | None, index: int) -> Extras:
        obs = Observation(y=None) if obs is None else obs
        (h, w, c), s, unit = picture.size, self.scale, self.unit
        on_grid = {n: a for n, a in obs.cond.items() if np.ndim(a) == 3 and np.shape(a)[:2] == (h * s, w * s)}
        alike = {n: a for n, a in obs.cond.items() if n not in on_grid}
        parts: dict[str, Part] = {n: part_of(np.asarray(a), unit * s) for n, a in on_grid.items()}
        if self.draws and "noise" not in obs.cond:
            rows_of, cols_of = mirrored(h * s, unit * s), mirrored(w * s, unit * s)
            shape, own = (h * s, w * s, self.draws * c), split(key)[0]
            parts["noise"] = lambda rows, cols: normal_part(own, shape, rows_of[rows], cols_of[cols], index)
        return Extras(parts, alike, obs.noise_std)

    # -----------------------------------------------------------------------------------------
    # One picture
    # -----------------------------------------------------------------------------------------

    def tiles(
        self, picture: Window, extras: Extras, axes: tuple[Axis, Axis], batch: int
    ) -> Iterator[tuple[list[tuple[int, int]], Observation]]:
        """Batches of tiles in order: their numbers along both axes, and what is given; short ones are filled up."""
        downs, acrosses = (axis.spans for axis in axes)
        numbers = [(k, j) for k in range(len(downs)) for j in range(len(acrosses))]
        s, down, across = self.scale, downs[0].stop - downs[0].start, acrosses[0].stop - acrosses[0].start
        y = mapped((batch, down, across, picture.size[2]), np.float32)  # filled anew for each batch
        for first in range(0, len(numbers), batch):
            some = numbers[first : first + batch]
            picture.need(downs[some[0][0]].start, downs[some[-1][0]].stop)
            full = some + some[-1:] * (batch - len(some))
            places = [(downs[k], acrosses[j]) for k, j in full]
            cond = {
                name: np.stack([part(*(slice(a.start * s, a.stop * s) for a in place)) for place in places])
                for name, part in extras.parts.items()
            }
            for one, (rows, cols) in zip(y, places):
                picture.fill(one, rows, cols)
            yield some, Observation(y=y, noise_std=extras.noise_std, cond={**extras.alike, **cond})

    def _rows(
        self,
        key: Keys,
        picture: Window,
        extras: Extras,
        axes: tuple[Axis, Axis],
        batch: int,
        progress: Progress | None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Finished rows of x_hat as they come, from `axes[0].begin` on, with the row of y that they end before."""
        (down, across), s = axes, self.scale
        downs, acrosses = down.windows(s), across.windows(s)
        total, filled, base = np.zeros((0, 0, 0), np.float32), 0, down.begin  # one buffer for all bands
        finished, count = 0, len(down.spans) * len(across.spans)
        for some, obs in self.tiles(picture, extras, axes, batch):
            try:
                restored = np.asarray(self._program(key, obs)(key, obs))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                raise _Short(" ".join(str(error).split())[:200]) from error
            for (k, j), x_hat in zip(some, restored):
                rows, cols = down.spans[k], across.spans[j]
                wanted = max(filled, (rows.stop - base) * s)
                if wanted > len(total):
                    larger = mapped((wanted, across.size * s, x_hat.shape[-1]), np.float32)
                    larger[:filled] = total[:filled].reshape(filled, *larger.shape[1:])
                    total = larger
                total[filled:wanted] = 0.0
                filled = wanted
                over = max(0, base - rows.start) * s  # rows of the halo above, finished by the tiles before
                to = (max(0, rows.start - base) * s) - over
                for top in range(over, len(x_hat), 64):  # a few rows at a time stay in the cache
                    window = downs[k][top : top + 64, None, None] * acrosses[j][None, :, None]
                    part = window * x_hat[top : top + 64]
                    total[to + top : to + top + len(part), cols.start * s : cols.stop * s] += part
            del restored, x_hat  # before the next tiles take as much
            finished += len(some)
            if finished < count:
                give_back_freed_memory()
            if progress:
                progress(finished, count)
            k = finished // len(across.spans)  # rows of tiles that are complete
            bottom = down.size
            if k < len(down.spans):
                bottom = down.spans[k].start + int(np.flatnonzero(downs[k])[0]) // s if k else base
            if bottom > base:
                done = (bottom - base) * s
                yield bottom, total[:done]
                filled, base = filled - done, bottom
                total[:filled] = total[done : done + filled]

    def _program(self, key: Keys, obs: Observation) -> Any:
        """The restorer, compiled for arrays like these."""
        like = jax.tree.map(lambda a: (np.shape(a), str(np.asarray(a).dtype)), obs)
        signature = (str(key.dtype), str(like))
        if signature not in self._programs:
            self._programs[signature] = jax.jit(lambda key, obs: self.restorer(key, obs)).lower(key, obs).compile()
        return self._programs[signature]

    # -----------------------------------------------------------------------------------------
    # Memory
    # -----------------------------------------------------------------------------------------

    def _room(self, key: Keys, picture: Window, extras: Extras) -> Room:
        """The tiles to begin with: the given ones, or those that fit a picture and the memory."""
        (h, w, _), (height, width, _) = picture.size, picture.shape
        if (h, w) in self._rooms:
            return self._rooms[h, w]
        limit = self._rooms[0, 0].height if (0, 0) in self._rooms else None
        if self.tile_px is not None:
            side = self.tile_px
            if limit is not None:
                side = min(side, max(self._least, limit // self.unit * self.unit))
            return Room(min(side, height), min(side, width), self.batch or BATCH)
        batch = self.batch or 1
        most = self.area_px or AREA
        area = max(1, (most if limit is None else min(most, limit**2)) // (batch * self.scale**2))
        budget = (self.memory_mb or _affordable_mb()) * 1e6
        for _ in range(3):
            room = Room(*fitted(height, width, self.halo, self.unit, area), batch)
            try:
                axes = (self._axis(height, room.height, 0), self._axis(width, room.width, 0))
                used = _temporaries(self._program(key, next(iter(self.tiles(picture, extras, axes, batch)))[1]))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                used = 2 * budget
            if used <= budget or room.height * room.width <= self._least**2:
                return room
            self._programs.clear()
            area = int(room.height * room.width * 0.9 * budget / used)
        return room

    def _less(self, room: Room, error: BaseException) -> Room:
        """Half the tile, or at the smallest one half the batch; said, and remembered for the pictures that follow.

        Raises:
            MemoryError: both are the smallest.
        """
        self._programs.clear()
        height, width = (max(min(n, self._least), n // 2 // self.unit * self.unit) for n in (room.height, room.width))
        less = Room(height, width, room.batch)
        if less == room and room.batch > 1:
            less = dataclasses.replace(room, batch=room.batch // 2)
        if less == room:
            raise MemoryError(
                f"memory is short even for one tile of {room.height} x {room.width} pixels, the smallest whose halo "
                f"leaves room: give a smaller overlap_px, or another device ({error})."
            ) from error
        self.say(
            f"Memory is short for {room.batch} tiles of {room.height} x {room.width} pixels at a time: going on with "
            f"{less.batch} of {less.height} x {less.width}."
        )
        self._rooms.clear()
        self._rooms[0, 0] = Room(max(less.height, less.width), 0, 0)
        return less


def _temporaries(program: Any) -> float:
    """Bytes that a program takes besides its arguments and its answer, as its compiler says; 0 where it does not."""
    said = program.memory_analysis()
    return 0.0 if said is None else float(said.temp_size_in_bytes)


def _affordable_mb() -> float:
    """Half of what an accelerator has, or `MEMORY_MB` where the host computes."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats["bytes_limit"] / 2e6 if "bytes_limit" in stats else MEMORY_MB
