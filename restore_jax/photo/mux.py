"""Frames into a video file: pieces, encoded one by one, and the whole, joined by copying their packets.

A piece is a NUT file (ProRes: MOV), which holds time stamps exactly. The whole takes the pieces' packets as they are,
and everything else of the source that its container can hold: audio, subtitles, chapters, metadata. Files appear whole
or not at all.
"""

import contextlib
import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from restore_jax.photo.video import Tags, Video, VideoError, exactly, frame_of, import_av, naming, picture_stream
from restore_jax.photo.yuv import UNKNOWN, Coding, Planes, layout, nearest

# An encoder by what it makes, the least and the greatest constant rate factor (None: it has none), and ours.
CODECS = {
    "h264": ("libx264", (0, 51), 16),
    "hevc": ("libx265", (0, 51), 18),
    "av1": ("libsvtav1", (1, 63), 22),
    "ffv1": ("ffv1", None, None),
    "prores": ("prores_ks", None, None),
}
_OPTIONS = {
    "h264": {"preset": "medium"},
    "hevc": {"preset": "medium", "x265-params": "log-level=error"},
    "av1": {"preset": "6"},
    "ffv1": {"level": "3", "slicecrc": "1", "slices": "4"},
    "prores": {},
}
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")


@dataclass(frozen=True)
class Encoding:
    """How a video is written: `codec` one of `CODECS`, `crf` its constant rate factor (None: one that hides its loss).

    Raises:
        ValueError: an unknown codec, or a crf outside its range.
    """

    codec: str = "h264"
    crf: int | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"Encoding.codec is one of {', '.join(CODECS)}, not {self.codec!r}.")
        limits = CODECS[self.codec][1]
        if self.crf is None:
            return
        if limits is None:
            raise ValueError(f"Encoding.crf: {self.codec} has no rate factor: leave it out, not {self.crf}.")
        if not limits[0] <= self.crf <= limits[1]:
            raise ValueError(f"Encoding.crf of {self.codec} lies in {list(limits)}, not {self.crf}.")

    @property
    def options(self) -> dict[str, str]:
        """What the encoder is told."""
        crf = CODECS[self.codec][2] if self.crf is None else self.crf
        return {**_OPTIONS[self.codec], **({} if crf is None else {"crf": str(crf)})}

    def format(self, coding: Coding) -> str:
        """Of the encoder's formats, the one that loses least."""
        encoder = import_av().codec.Codec(CODECS[self.codec][0], "w")
        names = tuple(f.name for f in encoder.video_formats or ())
        odd = coding.layout.kind == "rgb" and self.codec != "ffv1"  # the others' R'G'B' is played by few
        return nearest(coding.layout, tuple(n for n in names if not (odd and "gbr" in n)))


@dataclass(frozen=True)
class Made:
    """What is made of a video: its size as stored, how it is encoded, and by which seconds it is moved to the front."""

    video: Video
    width: int
    height: int
    encoding: Encoding
    moved: Fraction = Fraction(0)

    @property
    def format(self) -> str:
        """FFmpeg's name."""
        return self.encoding.format(self.video.coding)

    @property
    def coding(self) -> Coding:
        """What its codes mean: the source's meaning, in the format's layout."""
        found = layout(self.format)
        assert found is not None
        return self.video.coding.deeper(found)

    @property
    def tags(self) -> Tags:
        """The source's; what was assumed is said where another size would make players assume otherwise."""
        own, coding = self.video.tags, self.coding
        if coding.layout.kind == "rgb":
            return Tags(2, own.primaries, own.transfer, 0)
        said = own.matrix
        if said in (0, 3) or (said == UNKNOWN and self.height != self.video.height):
            said = 1 if coding.weights[0] == 0.2126 else 6
        return Tags(own.range, own.primaries, own.transfer, said)

    @property
    def timescale(self) -> int:
        """Of a MOV or MP4 file, so that its edit list says exactly when the first frame is shown."""
        base = self.video.time_base.denominator
        return base * max(1, -(-1000 // base))

    def stream(self, container: Any) -> Any:
        """A stream with the encoder of this in a container, not yet opened."""
        video, tags = self.video, self.tags
        stream = container.add_stream(CODECS[self.encoding.codec][0], video.rate, options=self.encoding.options)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, self.format
        context = stream.codec_context
        context.time_base = stream.time_base = video.time_base
        context.color_range, context.color_primaries = tags.range, tags.primaries
        context.color_trc, context.colorspace = tags.transfer, tags.matrix
        if video.aspect:
            context.sample_aspect_ratio = video.aspect
        return stream


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block ends, and vanishes after an error."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_piece(path: Path, made: Made, frames: Iterable[tuple[int, Planes]]) -> int:
    """Encodes frames, given by time stamp and planes, into a piece; how many they were.

    Raises:
        VideoError: the encoder refuses them.
    """
    count, av = 0, import_av()
    options = {"avoid_negative_ts": "disabled"}  # decoding times below 0 stay, so that the others stay
    kind = "mov" if made.encoding.codec == "prores" else "nut"  # NUT has no name for ProRes
    if kind == "mov":
        options["movie_timescale"] = str(made.timescale)
    os.environ.setdefault("SVT_LOG", "1")  # errors alone
    with whole(path) as partial, naming(path), av.open(str(partial), "w", kind, options) as container:
        stream, tags, name = made.stream(container), made.tags, made.format
        for pts, planes in frames:
            frame = frame_of(planes, name)
            frame.pts, frame.time_base = pts - made.video.first, made.video.time_base
            frame.color_range, frame.colorspace = tags.range, tags.matrix
            frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode(None))
    return count


def join(
    pieces: Sequence[Path], made: Made, path: Path, *, audio: bool = True, end: float | int | None = None
) -> tuple[str, ...]:
    """The pieces one after another in a file, with what else the source has; says what could not come along.

    Streams are copied where the container allows their codec; other audio becomes the container's own (AAC in MP4).

    Raises:
        VideoError: the container does not take the video, or a piece is damaged.
    """
    av, video, notes = import_av(), made.video, []
    moved, tail = made.moved, None if end is None else video.first * video.time_base + exactly(end)
    mov = path.suffix.lower() in (".mp4", ".mov", ".m4v")
    options = {"movflags": "+faststart", "movie_timescale": str(made.timescale)} if mov else {}
    with (
        whole(path) as partial,
        naming(path),
        av.open(str(partial), "w", options=options) as out,
        av.open(str(video.path)) as source,
    ):
        try:
            stream = made.stream(out)
        except ValueError as error:
            raise VideoError(f"{path}: {error}: give another --codec, or .mkv, which takes them all.") from error
        if made.encoding.codec == "hevc" and mov:
            stream.codec_context.codec_tag = "hvc1"  # the tag that Apple's players ask for
        if video.matrix is not None:
            stream.set_display_matrix(video.matrix)
        own = picture_stream(source)
        stream.metadata.update(own.metadata)
        out.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _OF_THE_FILE})
        if moved == 0 and end is None:
            out.set_chapters(source.chapters())
        others = {}
        for other in source.streams:
            if other.index == own.index or (other.type == "audio" and not audio):
                continue
            added = _added(out, other)
            if added is None:
                why = "one is restored" if other.type == "video" else f"{path.suffix} does not hold it"
                notes.append(f"{path}: {other.type} stream {other.index} is left out: {why}.")
            else:
                others[other.index] = (other, added)
        out.start_encoding()
        lines = [_pieces(pieces, stream, video, moved)]
        if others:
            lines.append(_named(video.path, _copied(source, others, moved, tail)))
        for _, packets in heapq.merge(*lines, key=lambda timed: timed[0]):
            out.mux(packets)
    return tuple(notes)


def _named(path: Path, packets: Iterator[Any]) -> Iterator[Any]:
    """The same, whose errors name the file that they come from."""
    with naming(path):
        yield from packets


def _added(out: Any, other: Any) -> tuple[Any, bool] | None:
    """A stream for another one's packets, and whether they are to be encoded anew; None where there is no way."""
    av = import_av()
    if other.type not in ("audio", "subtitle") or other.codec_context is None:
        return None
    try:
        added = out.add_stream_from_template(other)
        added.metadata.update(other.metadata)
        added.disposition = other.disposition
        return added, False
    except (ValueError, av.error.FFmpegError):
        if other.type != "audio" or out.default_audio_codec in ("none", ""):
            return None
        added = out.add_stream(out.default_audio_codec, other.codec_context.sample_rate)
        added.layout = other.codec_context.layout
        added.metadata.update(other.metadata)
        return added, True


def _pieces(pieces: Sequence[Path], stream: Any, video: Video, moved: Fraction) -> Iterator[tuple[Fraction, list[Any]]]:
    """The packets of the pieces, with decoding times for the whole: `dts_i` is the (i - d)-th time stamp in order.

    d is the least number by which no packet is decoded after it is shown.
    """
    av, base = import_av(), video.time_base
    stamps = []
    for piece in pieces:
        with naming(piece), av.open(str(piece)) as container:
            one = container.streams.video[0]
            stamps += [video.first + round(p.pts * p.time_base / base) for p in container.demux(one) if p.size]
    ordered = sorted(stamps)
    rank = {pts: i for i, pts in enumerate(ordered)}
    delay = max((i - rank[pts] for i, pts in enumerate(stamps)), default=0)
    step = max(1, round(1 / (video.rate * base)))
    early = [ordered[0] - step * (delay - i) for i in range(delay)] if ordered else []
    decoded, shift, i = early + ordered, round(moved / base), 0
    for piece in pieces:
        with naming(piece), av.open(str(piece)) as container:
            for packet in container.demux(container.streams.video[0]):
                if not packet.size:
                    continue
                pts, place = stamps[i], rank[stamps[i]]
                packet.time_base, packet.stream = base, stream
                packet.pts, packet.dts = pts - shift, decoded[i] - shift
                packet.duration = ordered[place + 1] - pts if place + 1 < len(ordered) else step
                yield packet.dts * base, [packet]
                i += 1


def _copied(
    source: Any, others: dict[int, tuple[Any, tuple[Any, bool]]], moved: Fraction, tail: Fraction | None
) -> Iterator[tuple[Fraction, list[Any]]]:
    """The packets of the other streams, those before the beginning and after `tail` left out."""
    av, last = import_av(), Fraction(-(10**9))
    resamplers = {}
    begin = moved if moved else None
    streams = [other for other, _ in others.values()]
    for packet in source.demux(streams):
        index = packet.stream.index
        added, anew = others[index][1]
        if anew:
            time = last if packet.pts is None else packet.pts * packet.time_base
            outside = packet.pts is not None and ((begin is not None and time < begin) or (tail and time >= tail))
            if outside:
                continue
            if index not in resamplers:
                resamplers[index] = av.AudioResampler(added.format, added.layout, added.rate)
            encoded = []
            for frame in [*packet.decode(), *([None] if not packet.size else [])]:
                if frame is not None and begin is not None and frame.pts is not None:
                    frame.pts -= round(begin / frame.time_base)
                for part in resamplers[index].resample(frame):
                    encoded += added.encode(part)
            if not packet.size:
                encoded += added.encode(None)
            last = max(last, time)
            if encoded:
                yield last, encoded
            continue
        if packet.dts is None and packet.pts is None:
            continue
        stamp = packet.dts if packet.dts is not None else packet.pts
        time = stamp * packet.time_base
        if (begin is not None and time < begin) or (tail is not None and time >= tail):
            continue
        shift = round(moved / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = added
        last = time - moved
        yield last, [packet]
