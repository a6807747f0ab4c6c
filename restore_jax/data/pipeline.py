"""`Pipeline`: photographs to training batches, a pure function of (seed, step).

    examples    each photograph, once for every crop_px^2 of its area        an epoch
    shuffle     a new order every epoch
    cut         square, mirror, quarter turn, by a generator of its own for each example
    batch       examples k b ... (k + 1) b of this endless stream are step k

An example is a function of (seed, its number in the stream), so `pipeline[k]` costs the same for every k,
a run resumes at k without reading what came before, and a process reads its own rows only. The batch of a
step does not depend on how many processes share it: process p of n holds rows p b/n ... (p + 1) b/n.

Grain batches, slices and reads ahead; order and cuts are drawn here, since Grain's own shuffle of a short
epoch costs more than the cut (0.4 ms an example for 250 of them, 0.006 ms for 65,536).
"""

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import grain
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

STREAM_EXAMPLES = 2**48  # stands for endless; Grain's own endless stream overflows when it is sliced
LEAST = {"batch_size": 1, "crop_px": 1, "seed": 0, "process_count": 1, "workers": 0, "cache_mb": 0}


@runtime_checkable
class Source(Protocol):
    """Photographs by number. `sizes` (the height and width of each) is optional and saves decoding all."""

    @property
    def names(self) -> Sequence[str]:
        """What the photographs are called."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]: ...


@dataclass(frozen=True)
class Pipeline:
    """Random squares of photographs: `uint8 [batch_size / process_count, crop_px, crop_px, 3]` a step.

    `pipeline[step]` is the batch of a step; `pipeline.iterator(start_step)` the same batches in order, made
    ahead by `workers` threads. Both give the same bytes for the same fields, on any machine.

    A photograph narrower or lower than `crop_px` is continued by its mirror image. `by_area` shows a
    photograph in proportion to its area (at least once an epoch), so that every pixel is seen about as
    often; without it every photograph is shown once an epoch. `augment` mirrors and turns, all eight
    ways alike. Decoded photographs stay in memory until they fill `cache_mb`; the rest are decoded each time.
    `batch_size` counts the whole step, over all processes.

    Raises:
        ValueError: an empty source, numbers that do not fit, a crop larger than every photograph, or an epoch of
            fewer examples than processes.
    """

    source: Source
    batch_size: int
    crop_px: int
    seed: int = 0
    augment: bool = True
    by_area: bool = True
    process_index: int = 0
    process_count: int = 1
    workers: int = 2
    cache_mb: int = 1024

    def __post_init__(self):
        for field, least in LEAST.items():
            if getattr(self, field) < least:
                raise ValueError(f"{field} is at least {least}, not {getattr(self, field)}.")
        if not 0 <= self.process_index < self.process_count:
            raise ValueError(f"process_index {self.process_index} is not one of 0 ... {self.process_count - 1}.")
        if self.batch_size % self.process_count:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide among {self.process_count} processes; "
                f"use {self.batch_size // self.process_count * self.process_count or self.process_count} "
                f"or another multiple of {self.process_count}."
            )
        if len(self.source) == 0:
            raise ValueError("the source holds no photographs.")
        if self.by_area and self.crop_px > max(max(size) for size in self._sizes):
            raise ValueError(
                f"crop_px {self.crop_px} is larger than every photograph (largest side "
                f"{max(max(size) for size in self._sizes)}): choose a smaller crop or larger photographs."
            )
        if len(self._epoch) < self.process_count:
            raise ValueError(
                f"Pipeline.source gives {len(self._epoch)} examples an epoch, fewer than the {self.process_count} "
                "processes that share it (process_count): use more photographs or fewer processes."
            )

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        return sizes_of(self.source, self._photos.__getitem__)

    @cached_property
    def _photos(self) -> "_Cached":
        return _Cached(self.source, self.cache_mb * 2**20)

    @cached_property
    def _epoch(self) -> np.ndarray:
        """The photographs of one epoch, by number."""
        photos = np.arange(len(self.source))
        if not self.by_area:
            return photos
        return np.repeat(photos, [max(1, round(h * w / self.crop_px**2)) for h, w in self._sizes])

    @cached_property
    def _order(self) -> Callable[[int], np.ndarray]:
        """epoch -> the photographs in the order of that epoch."""

        @functools.lru_cache(maxsize=8)
        def order(epoch: int) -> np.ndarray:
            return np.random.default_rng((self.seed, 0, epoch)).permutation(self._epoch)

        return order

    @cached_property
    def dataset(self) -> grain.MapDataset:
        """The batches of this process as a Grain dataset: `dataset[step]`, lazily."""
        examples = grain.MapDataset.range(STREAM_EXAMPLES).map(self._example)
        # All arithmetic on indices, from here back to the source: rows of other processes are never read.
        shards = examples.batch(self.batch_size // self.process_count, drop_remainder=True)
        return shards[self.process_index :: self.process_count]

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every photograph had its turn."""
        return len(self._epoch) / self.batch_size

    def __getitem__(self, step: int) -> UInt8[np.ndarray, "b crop crop 3"]:
        if step < 0:
            raise IndexError(f"steps count from 0, not {step}: the stream has no end to count from.")
        return np.asarray(self.dataset[step])

    def iterator(self, start_step: int = 0) -> grain.DatasetIterator:
        """`self[start_step], self[start_step + 1], ...` without end, `2 workers` batches ahead of the reader.

        The iterator's state is the number of the next step, whatever `process_count`: save and restore it
        with `grain.checkpoint`, `get_state` and `set_state`, or simply start at the step you know.
        """
        ahead = grain.ReadOptions(num_threads=self.workers, prefetch_buffer_size=2 * self.workers)
        iterator = iter(self.dataset.to_iter_dataset(ahead))
        grain.experimental.set_next_index(iterator, start_step)
        return iterator

    def photos(self, step: int) -> list[str]:
        """The names of the photographs in `self[step]`, row by row; nothing is decoded."""
        if step < 0:
            raise IndexError(f"steps count from 0, not {step}: the stream has no end to count from.")
        rows = self.batch_size // self.process_count
        first = step * self.batch_size + self.process_index * rows
        return [self.source.names[self._photo(number)] for number in range(first, first + rows)]

    def _photo(self, number: int) -> int:
        """Which photograph example `number` of the endless stream is cut from."""
        epoch, place = divmod(number, len(self._epoch))
        return int(self._order(epoch)[place])

    def _example(self, number: int) -> UInt8[np.ndarray, "crop crop 3"]:
        """Example `number` of the endless stream."""
        photo = self._photos[self._photo(number)]
        return _cut(np.random.default_rng((self.seed, 1, number)), photo, self.crop_px, self.augment)


def _cut(rng: np.random.Generator, photo: np.ndarray, crop: int, augment: bool) -> np.ndarray:
    below, beside = (max(0, crop - side) for side in photo.shape[:2])
    if below or beside:
        photo = np.pad(photo, ((0, below), (0, beside), (0, 0)), mode="reflect")
    top, left = (rng.integers(side - crop + 1) for side in photo.shape[:2])
    square = photo[top : top + crop, left : left + crop]
    if augment:  # the eight symmetries of the square; a pixel moves as one item, in half the time of three
        pixels = np.ascontiguousarray(square).view("V3")[..., 0]
        pixels = np.rot90(pixels, int(rng.integers(4)))
        pixels = pixels[:, ::-1] if rng.integers(2) else pixels
        square = np.ascontiguousarray(pixels).view(np.uint8).reshape(crop, crop, 3)
    return square


def sizes_of(source: Source, read: Callable[[int], np.ndarray] | None = None) -> list[tuple[int, int]]:
    """Height and width of each photograph: what the source says, or else those of all, decoded by `read`."""
    decoded = read or source.__getitem__
    return list(getattr(source, "sizes", None) or (decoded(i).shape[:2] for i in range(len(source))))


def to_float(batch: UInt8[Array | np.ndarray, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """`batch / 255` in float32, to one unit in the last place: a quarter of the bytes goes to the device."""
    return jnp.asarray(batch).astype(jnp.float32) / 255


class _Cached:
    """`source[i]`, kept until `limit_bytes` are full.

    Nothing is ever thrown out: crops come in random order, where evicting only costs.
    """

    def __init__(self, source: Source, limit_bytes: int):
        self.source, self.free_bytes = source, limit_bytes
        self.kept: dict[int, np.ndarray] = {}
        self.lock = threading.Lock()

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self.kept:
            return self.kept[index]
        photo = self.source[index]  # outside the lock: threads decode side by side, at worst one twice
        with self.lock:
            if index not in self.kept and photo.nbytes <= self.free_bytes:
                self.kept[index] = photo
                self.free_bytes -= photo.nbytes
        return photo
