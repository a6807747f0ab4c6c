"""Video files as frames: planes, time stamps, colour tags, rotation; through PyAV (`pip install "restore-jax[video]"`).

    video = open_video("in.mp4")
    for frame in video.frames():
        x = video.shown(frame)                  float32 R'G'B' in [0, 1], upright
        planes = video.coding.restored(frame.planes, video.stored(x_hat))

Decoding goes from the first frame to the last: a frame is the same whichever frames were asked for. `photo.mux` writes.
"""

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from restore_jax.photo.yuv import UNKNOWN, Coding, Layout, Planes, layout

# Formats that are not planar, and the planar one that holds the same codes.
PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "p010le": "yuv420p10le", "p016le": "yuv420p16le", "nv16": "yuv422p",
    "nv24": "yuv444p", "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "y210le": "yuv422p10le",
    "p210le": "yuv422p10le", "rgb48le": "gbrp16le", "bgr48le": "gbrp16le",
    **{name: "gbrp" for name in ("rgb24", "bgr24", "0rgb", "rgb0", "0bgr", "bgr0", "pal8")},
}  # fmt: skip
# The same without alpha, which no restorer sees and few files mean.
OPAQUE = {
    "yuva420p": "yuv420p", "yuva422p": "yuv422p", "yuva444p": "yuv444p", "yuva422p10le": "yuv422p10le",
    "yuva444p10le": "yuv444p10le", "yuva444p12le": "yuv444p12le", "gbrap": "gbrp", "ya8": "gray",
    **{name: "gbrp" for name in ("rgba", "bgra", "argb", "abgr")},
}  # fmt: skip


class VideoError(ValueError):
    """A file that is no video, is damaged, or holds what cannot be restored faithfully; one line that names it."""


def import_av() -> Any:
    """PyAV, imported when a video is first touched.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ImportError('Video needs PyAV: pip install "restore-jax[video]".') from error


def exactly(seconds: float | int) -> Fraction:
    """The decimal number that a float was written as: 0.4 is 2/5, at which a frame may lie."""
    return Fraction(str(seconds))


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """FFmpeg's errors inside become VideoErrors of one line that name the file."""
    av = import_av()
    try:
        yield
    except av.error.FFmpegError as error:
        raise VideoError(f"{path}: {error.strerror or error}.") from error


@dataclass(frozen=True)
class Tags:
    """What a file says of its colours, in the numbers of H.273; 2 (range: 0) says nothing."""

    range: int = 0
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    matrix: int = UNKNOWN


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as the file has it: number from 0, time stamp and duration in units of `Video.time_base`, planes."""

    index: int
    pts: int
    duration: int
    planes: Planes


@dataclass(frozen=True)
class Video:
    """What a file says of its largest video stream; made by `open_video`.

    `rotation` is in degrees counter-clockwise, as a player turns the stored picture; `matrix` is the display matrix
    (nine integers of FFmpeg's), or None. `first` is the time stamp of the first frame, `count` an estimate.
    """

    path: Path
    width: int
    height: int
    format: str
    coding: Coding
    tags: Tags
    time_base: Fraction
    rate: Fraction
    first: int
    count: int
    aspect: Fraction | None = None
    rotation: int = 0
    matrix: tuple[int, ...] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def turns(self) -> int:
        """Quarter turns counter-clockwise from stored to upright."""
        return round(self.rotation / 90) % 4 if self.rotation % 90 == 0 else 0

    def seconds(self, frame: Frame) -> Fraction:
        """Time since the first frame, exactly."""
        return (frame.pts - self.first) * self.time_base

    def shown(self, frame: Frame) -> Float32[np.ndarray, "h w 3"]:
        """What a restorer is given: R'G'B' in [0, 1], upright."""
        return np.ascontiguousarray(np.rot90(self.coding.shown(frame.planes), self.turns))

    def stored(self, x_hat: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "p q 3"]:
        """A restored frame as the file stores it, turned back."""
        return np.ascontiguousarray(np.rot90(x_hat, -self.turns))

    def frames(self, start: float | int | None = None, end: float | int | None = None) -> Iterator[Frame]:
        """The frames with `start <= time < end`, in seconds from the first one, in the order they are shown.

        A frame without a time stamp, or whose time does not go on, gets the next one: the last plus its duration, or
        plus one tick.

        Raises:
            VideoError: damaged, or its size or format changes on the way.
        """
        with naming(self.path), import_av().open(str(self.path)) as container:
            stream = picture_stream(container)
            stream.thread_type = "AUTO"
            last, duration = None, max(1, round(1 / (self.rate * self.time_base)))
            for index, decoded in enumerate(container.decode(stream)):
                pts = decoded.pts if decoded.pts is not None else (self.first if last is None else last + duration)
                pts = pts if last is None or pts > last else last + 1
                last, duration = pts, decoded.duration or duration
                t = (pts - self.first) * self.time_base
                if end is not None and t >= exactly(end):
                    return
                if start is not None and t < exactly(start):
                    continue
                if (decoded.width, decoded.height, decoded.format.name) != (self.width, self.height, self.format):
                    raise VideoError(
                        f"{self.path}: frame {index} is {decoded.width}x{decoded.height} {decoded.format.name} after "
                        f"{self.width}x{self.height} {self.format}: cut the video where it changes."
                    )
                yield Frame(index, pts, duration, planes_of(decoded, self.coding.layout))


def planes_of(decoded: Any, wanted: Layout) -> Planes:
    """The planes of PyAV's frame, copied."""
    if layout(decoded.format.name) is None:
        decoded = decoded.reformat(format=planar_name(decoded.format.name))
    planes = []
    for plane, (height, width) in zip(decoded.planes, wanted.shapes(decoded.height, decoded.width)):
        line = plane.line_size // np.dtype(wanted.dtype).itemsize
        planes.append(np.frombuffer(plane, wanted.dtype)[: line * height].reshape(height, line)[:, :width].copy())
    return tuple(planes)


def frame_of(planes: Planes, name: str) -> Any:
    """PyAV's frame with these planes, in a planar format by FFmpeg's name."""
    height, width = planes[0].shape
    frame = import_av().VideoFrame(width, height, name)
    for plane, codes in zip(frame.planes, planes):
        line = plane.line_size // codes.dtype.itemsize
        buffer = np.frombuffer(plane, codes.dtype)
        buffer[: line * len(codes)].reshape(len(codes), line)[:, : codes.shape[1]] = codes
    return frame


def picture_stream(container: Any) -> Any:
    """The largest video stream that is no cover picture, the first of several, or None."""
    cover = import_av().stream.Disposition.attached_pic
    found = [one for one in container.streams.video if not one.disposition & cover]
    return max(found, key=lambda one: one.width * one.height, default=None)


def planar_name(name: str) -> str | None:
    """The planar format that holds the codes of a format, both by FFmpeg's names; None where there is none."""
    return name if layout(name) is not None else PLANAR.get(name, OPAQUE.get(name))


def open_video(path: str | Path) -> Video:
    """What a video file is, from its header and its first frame.

    Raises:
        VideoError: missing, empty, no video, damaged, interlaced, or of a format or matrix that is not understood.
        ImportError: PyAV is not installed.
    """
    path = Path(path)
    with naming(path), import_av().open(str(path)) as container:
        stream = picture_stream(container)
        if stream is None:
            raise VideoError(f"{path}: it holds no video stream.")
        frame = next(container.decode(stream), None)
        if frame is None:
            raise VideoError(f"{path}: its video stream holds no frame.")
        return _video(path, container, stream, frame)


def _video(path: Path, container: Any, stream: Any, frame: Any) -> Video:
    name = frame.format.name
    found = layout(planar_name(name) or "")
    if found is None:
        raise VideoError(f"{path}: frames of format {name} are not understood: convert them (ffmpeg -pix_fmt yuv420p).")
    if frame.interlaced_frame:
        raise VideoError(f"{path}: it is interlaced: make whole pictures of it first (ffmpeg -vf bwdif).")
    tags = Tags(
        2 if "yuvj" in name else int(frame.color_range),
        int(frame.color_primaries),
        int(frame.color_trc),
        int(frame.colorspace),
    )
    try:
        coding = Coding(found, tags.matrix, tags.range == 2, frame.height)
    except ValueError as error:
        raise VideoError(f"{path}: {error}") from error
    matrix = frame.side_data.get("DISPLAYMATRIX")
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    base = Fraction(stream.time_base)
    seconds = stream.duration * base if stream.duration else Fraction(container.duration or 0, 10**6)
    notes = ["its alpha channel is left out"] if name in OPAQUE else []
    if tags.transfer in (16, 18):
        notes.append("it is HDR (PQ or HLG): the restorer is shown its codes, which look flat to one made for sRGB")
    return Video(
        path=path,
        width=frame.width,
        height=frame.height,
        format=name,
        coding=coding,
        tags=tags,
        time_base=base,
        rate=rate,
        first=frame.pts or 0,
        count=stream.frames or max(1, round(seconds * rate)),
        aspect=stream.sample_aspect_ratio,
        rotation=frame.rotation,
        matrix=None if matrix is None else tuple(int(v) for v in np.frombuffer(matrix, np.int32)),
        notes=tuple(notes),
    )
