"""Made clips: a gradient that moves, with whatever a file can say beside it."""

import math
from fractions import Fraction

import numpy as np
import pytest

from restore_jax.photo.video import Tags, frame_of
from restore_jax.photo.yuv import Coding, layout

av = pytest.importorskip("av", reason="video needs PyAV")

BT709, BT601, BT2020 = Tags(1, 1, 1, 1), Tags(1, 6, 6, 6), Tags(1, 9, 14, 9)


def pictures(count, height=36, width=52):
    """R'G'B' that moves by a pixel a frame, with a still half."""
    row, col = np.mgrid[:height, :width].astype(np.float32)
    for t in range(count):
        moved = (col + t * (row < height / 2)) / width
        yield np.stack([0.5 + 0.4 * np.sin(6 * moved), row / height, 0.5 + 0.4 * np.cos(5 * moved)], -1).astype(
            np.float32
        )


def write_clip(path, count=12, *, size=(36, 52), form="yuv420p", tags=BT709, codec="ffv1", base=Fraction(1, 600),
               stamps=None, audio=None, rotation=0, metadata=None, options=None):  # fmt: skip
    """A file; the planes that were encoded."""
    stamps = [round(t / 25 / base) for t in range(count)] if stamps is None else stamps
    coding = Coding(layout(form), tags.matrix, tags.range == 2, size[0])
    planes = []
    with av.open(str(path), "w") as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, 25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], form
        context = stream.codec_context
        context.time_base = stream.time_base = base
        context.color_range, context.color_primaries = tags.range, tags.primaries
        context.color_trc, context.colorspace = tags.transfer, tags.matrix
        if rotation:
            stream.set_display_rotation(rotation)
        tone = out.add_stream(audio, 48000) if audio else None
        if tone:
            tone.layout = "mono"
        out.start_encoding()
        for pts, x in zip(stamps, pictures(count, *size)):
            top = 2**coding.layout.depth - 1
            planes.append(tuple(np.rint(np.clip(p, 0, top)).astype(coding.layout.dtype) for p in coding.codes(x)))
            frame = frame_of(planes[-1], form)
            frame.pts, frame.time_base = pts, base
            frame.color_range, frame.colorspace = tags.range, tags.matrix
            frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone:
            seconds = (stamps[-1] + stamps[1]) * base
            for first in range(0, math.ceil(48000 * seconds), 1024):
                t = np.arange(first, first + 1024) / 48000
                samples = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[None]
                frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, first, Fraction(1, 48000)
                out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return planes


def packets(path, kind):
    """What a stream's packets hold, one after another."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
