"""A restorer of pictures, or of windows of frames, on a clip: frame after frame, with noise that does not flicker."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key

from restore_jax.core import Observation
from restore_jax.infer.around import Around
from restore_jax.infer.tile import Tile

T = TypeVar("T")
Picture = Float32[np.ndarray, "h w c"]


def windows(items: Iterable[T], frames: int) -> Iterator[tuple[T, ...]]:
    """For each item, the `frames` items around it, mirrored at both ends: `c b | a b c d | c b`.

    Holds no more than `2 frames` items. A clip too short to be mirrored repeats its ends.

    Raises:
        ValueError: `frames` is even, or less than 1.
    """
    if frames < 1 or frames % 2 == 0:
        raise ValueError(f"windows.frames must be odd and at least 1, not {frames}.")
    half, source = frames // 2, iter(items)
    ahead = list(itertools.islice(source, half + 1))
    if not ahead:
        return
    before = [ahead[min(i, len(ahead) - 1)] for i in range(half, 0, -1)]
    if len(ahead) > half:
        held = deque([*before, *ahead], maxlen=frames)  # the window of the next item
        past = deque(ahead, maxlen=frames)  # what the mirror at the far end may ask for
        yield tuple(held)
        for item in source:
            held.append(item)
            past.append(item)
            yield tuple(held)
        tail = list(past)
        for i in range(1, half + 1):
            held.append(tail[max(0, len(tail) - 1 - i)])
            yield tuple(held)
        return
    last = len(ahead) - 1
    place = lambda i: min(max(-i if i < 0 else (2 * last - i if i > last else i), 0), last)  # noqa: E731
    for i in range(len(ahead)):
        yield tuple(ahead[place(i + k)] for k in range(-half, half + 1))


@dataclass(frozen=True, eq=False)
class Clip(Around):
    """`x_hat[t] = restorer(key, y[t])`, `batch` frames at a time, on one compiled program for a size of frame.

    A restorer that says `frames = k > 1` is given windows of k frames, `y` of shape `b k h w c`, and answers with the
    middle ones, `b h w c`; windows are mirrored at the ends of the clip.

    Noise is fixed over time: every frame is restored with the same key, so that a sampler starts, and a grain lies, the
    same on each, and what stands still in y stands still in x_hat, bit for bit. `fresh` gives each frame a key of its
    own: its number folded into the key. Neither depends on `batch`.

    Raises:
        ValueError: batch is less than 1, the window even; with windows, the restorer is a Tile.
    """

    batch: int = 4
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"Clip.batch must be at least 1, not {self.batch}.")
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"Clip.restorer.frames must be odd and at least 1, not {self.frames}.")
        if isinstance(self.restorer, Tile) and getattr(self.restorer.restorer, "frames", 1) > 1:
            raise ValueError("Clip.restorer: a Tile cuts pictures, not windows of frames: give the restorer itself.")

    @property
    def frames(self) -> int:
        """How many frames the restorer is given for one."""
        return getattr(self.restorer, "frames", 1)

    @cached_property
    def _program(self) -> Callable[..., Any]:
        if isinstance(self.restorer, Tile):  # it compiles for itself, and works on the host
            return self.restorer
        return jax.jit(lambda keys, obs: self.restorer(keys, obs))

    def __call__(self, key: Key[Array, ""], obs: Observation) -> Float[Array, "t h w c"]:
        """The restored clip `t h w c`."""
        clip = np.asarray(obs.y, np.float32)
        restored = [x_hat for _, x_hat in self.stream(key, enumerate(clip), noise_std=obs.noise_std)]
        return jnp.asarray(np.stack(restored))

    def stream(
        self,
        key: Key[Array, ""],
        frames: Iterable[tuple[int, Picture]],
        wanted: Callable[[int], bool] = lambda index: True,
        noise_std: Any = None,
        apart: Callable[[int], Any] = lambda index: 0,
    ) -> Iterator[tuple[int, Picture]]:
        """The restored frames, in order, of numbered ones; those that are not `wanted` are only looked at by others.

        Frames share a batch only where `apart` says the same of their numbers: what is restored together does not
        depend on where the work began.
        """
        around = (window for window in windows(frames, self.frames) if wanted(window[self.frames // 2][0]))
        for _, group in itertools.groupby(around, lambda window: apart(window[self.frames // 2][0])):
            while some := list(itertools.islice(group, self.batch)):
                yield from self._restored(key, some, noise_std)

    def _restored(
        self, key: Key[Array, ""], some: list[tuple[tuple[int, Picture], ...]], noise_std: Any
    ) -> Iterator[tuple[int, Picture]]:
        numbers = [window[self.frames // 2][0] for window in some]
        full = some + some[-1:] * (self.batch - len(some))
        if self.frames == 1:
            y = np.stack([window[0][1] for window in full])
        else:
            y = np.stack([np.stack([picture for _, picture in window]) for window in full])
        places = np.asarray([window[self.frames // 2][0] for window in full], np.uint32)
        keys = self._keys(key, places)
        x_hat = np.asarray(self._program(keys, Observation(y=y, noise_std=noise_std)), np.float32)
        yield from zip(numbers, x_hat)

    def _keys(self, key: Key[Array, ""], places: np.ndarray) -> Key[Array, " b"]:
        if self.fresh:
            return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(places))
        return jnp.broadcast_to(key.reshape(1), (len(places),))
