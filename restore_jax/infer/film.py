"""A video file restored, piece by piece: what is finished stays, and the same call goes on where it stopped.

    OUT.pieces/settings.json    what the pieces were made of, and how
    OUT.pieces/000003.nut       seconds 30 to 40 of the result, for pieces of 10 seconds; whole, or not there

Every frame is decoded, in order, whatever is finished already, and batches end where pieces do: a piece is the same
frames whether the run before it was interrupted or not. At the end the pieces are joined and the folder is removed.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Key

from restore_jax import __version__
from restore_jax.core import Keys
from restore_jax.infer.clip import Clip
from restore_jax.photo.mux import Encoding, Made, join, write_piece
from restore_jax.photo.video import Frame, Video, VideoError, exactly, open_video
from restore_jax.photo.yuv import Planes

Progress = Callable[[int, int], Any]
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Cut:
    """Which part of a video is restored (`start` and `end` in seconds from its first frame), and in pieces how long.

    Raises:
        ValueError: a time below 0, an end before the start, or pieces of no length.
    """

    start: float | int | None = None
    end: float | int | None = None
    seconds: float | int = 10.0

    def __post_init__(self) -> None:
        if self.start is not None and self.start < 0:
            raise ValueError(f"Cut.start must be 0 seconds or more, not {self.start}.")
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"Cut.end must come after the start ({self.start or 0} seconds), not {self.end}.")
        if not self.seconds > 0:
            raise ValueError(f"Cut.seconds, the length of a piece, must be above 0, not {self.seconds}.")


def restore_film(
    key: Key[Array, ""],
    clip: Clip,
    source: str | Path,
    output: str | Path,
    *,
    encoding: Encoding | None = None,
    cut: Cut | None = None,
    audio: bool = True,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    say: Say = lambda text: None,
) -> Video:
    """Restores `source` into `output`; what came of it, as `open_video` sees it.

    `settings` is what else the result depends on (a hash of the model): pieces of other settings, or of another source,
    are done again. `progress(done, restored)` counts the frames that are behind, and those of them that this call
    restored. `say` hears what could not come along.

    Raises:
        VideoError: the source is damaged, has no frame between start and end, or the container cannot hold the result.
    """
    output, cut, encoding = Path(output), cut or Cut(), encoding or Encoding()
    video = open_video(source)
    for note in video.notes:
        say(f"{source}: {note}.")
    if output.exists() and output.samefile(video.path):
        raise VideoError(f"{output}: it is the video that is to be restored: give another name.")
    scale = clip.scale
    moved = exactly(cut.start or 0)
    made = Made(video, video.width * scale, video.height * scale, encoding, moved)
    folder = output.with_name(f"{output.name}.pieces")
    facts = {"source": _identity(video.path), "encoding": asdict(encoding), "cut": asdict(cut), "scale": scale,
             "frames": clip.frames, "batch": clip.batch, "fresh": clip.fresh, "key": _key(key),
             "restore_jax": __version__, **(settings or {})}  # fmt: skip
    _prepare(folder, facts, say)
    pieces = Pieces(folder, made, cut, progress)
    pieces.restore(key, clip)
    names = pieces.names()
    if not names:
        shutil.rmtree(folder)
        raise VideoError(f"{source}: it has no frame between {cut.start or 0} s and {cut.end or 'its end'} s.")
    for note in join(names, made, output, audio=audio, end=cut.end):
        say(note)
    shutil.rmtree(folder)
    return open_video(output)


class Pieces:
    """The pieces of a film in a folder, those that are finished and those that are not."""

    def __init__(self, folder: Path, made: Made, cut: Cut, progress: Progress | None = None) -> None:
        self.folder, self.made, self.cut, self.progress = folder, made, cut, progress
        self.done = {path.stem for path in folder.glob("*.nut")}
        self.held: dict[int, tuple[int, Planes]] = {}  # what the restorer has been given and not answered
        self.number: dict[int, int] = {}  # of the piece of a frame
        self.behind = self.restored = 0

    def names(self) -> list[Path]:
        """The finished ones, in order."""
        return sorted(self.folder.glob("*.nut"))

    def of(self, frame: Frame) -> int:
        """The number of a frame's piece."""
        since = self.made.video.seconds(frame) - exactly(self.cut.start or 0)
        return int(since / exactly(self.cut.seconds))

    def restore(self, key: Keys, clip: Clip) -> None:
        """Restores what is missing, piece after piece."""
        restored = clip.stream(key, self._shown(clip.frames > 1), self._missing, apart=self.number.__getitem__)
        for piece, frames in itertools.groupby(restored, lambda numbered: self.number[numbered[0]]):
            write_piece(self.folder / f"{piece:06d}.nut", self.made, self._planes(frames))

    def _shown(self, all_of_them: bool) -> Iterator[tuple[int, Any]]:
        video = self.made.video
        for frame in video.frames(self.cut.start, self.cut.end):
            self.number[frame.index] = self.of(frame)
            if self._missing(frame.index):
                self.held[frame.index] = (frame.pts, frame.planes)
            else:
                self._step(0)
            wanted = all_of_them or frame.index in self.held
            yield frame.index, video.shown(frame) if wanted else None

    def _missing(self, index: int) -> bool:
        return f"{self.number[index]:06d}" not in self.done

    def _planes(self, frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Planes]]:
        video, into = self.made.video, self.made.coding
        for index, x_hat in frames:
            pts, planes = self.held.pop(index)
            try:
                yield pts, video.coding.restored(planes, video.stored(x_hat), into)
            except ValueError as error:
                raise VideoError(f"{video.path}: frame {index}: {error}") from error
            self._step(1)

    def _step(self, restored: int) -> None:
        self.behind, self.restored = self.behind + 1, self.restored + restored
        if self.progress:
            self.progress(self.behind, self.restored)


def _prepare(folder: Path, facts: dict[str, Any], say: Say) -> None:
    """A folder for pieces of these settings: empty, or with those that are finished."""
    wanted = json.dumps(facts, indent=1, sort_keys=True, default=str) + "\n"
    file = folder / "settings.json"
    if folder.exists():
        if file.is_file() and file.read_text() == wanted:
            finished = len(list(folder.glob("*.nut")))
            say(f"{folder}: going on after {finished} finished pieces.")
            for partial in folder.glob(".*.partial.nut"):
                partial.unlink()
            return
        if not file.is_file() and any(folder.iterdir()):
            raise VideoError(f"{folder}: it is in the way, and holds no settings.json of pieces: remove it.")
        say(f"{folder}: its pieces are of another video or other settings: starting anew.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    partial = folder / ".settings.partial"
    with partial.open("w") as out:
        out.write(wanted)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


def _identity(path: Path) -> dict[str, Any]:
    """What tells a file from another: its size, and a hash of its ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(2**20)
        file.seek(max(0, size - 2**20))
        ends += file.read(2**20)
    return {"name": path.name, "size": size, "sha256_of_ends": hashlib.sha256(ends).hexdigest()}


def _key(key: Key[Array, ""]) -> str:
    return f"{jax.random.key_impl(key)}:{jax.random.key_data(key).tolist()}"
