"""Pieces and the whole: time stamps, sound, tags and turns of the source, packet for packet where they are copied."""

import json
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from restore_jax.photo.mux import Encoding, Made, join, whole, write_piece
from restore_jax.photo.video import VideoError, open_video
from tests.photo.made_video import BT601, BT709, BT2020, Tags, packets, write_clip

STAMPS = (0, 20, 41, 80, 81, 160, 200, 201, 330, 350, 399, 600)


def remade(source, output, encoding, sizes=(5, 7), **options):
    video = open_video(source)
    made = Made(video, video.width, video.height, encoding)
    frames, pieces = video.frames(), []
    for k, size in enumerate(sizes):
        pieces.append(output.parent / f"{k}.nut")
        some = [next(frames) for _ in range(size)]
        coded = [(f.pts, video.coding.restored(f.planes, video.coding.shown(f.planes), made.coding)) for f in some]
        assert write_piece(pieces[-1], made, coded) == size
    return join(pieces, made, output, **options)


@pytest.mark.parametrize(
    ("form", "tags"),
    [
        ("yuv420p", BT709),
        ("yuv420p", BT601),
        ("yuv420p10le", BT2020),
        ("yuv422p", Tags(2, 1, 1, 1)),
        ("yuv420p", Tags()),
        ("gbrp10le", Tags(2, 1, 13, 0)),
        ("gray", BT709),
    ],
)
def test_lossless_is_lossless(tmp_path, form, tags):
    planes = write_clip(tmp_path / "in.mkv", form=form, tags=tags)
    assert remade(tmp_path / "in.mkv", tmp_path / "out.mkv", Encoding("ffv1")) == ()
    made = open_video(tmp_path / "out.mkv")
    assert (made.tags, made.format) == (open_video(tmp_path / "in.mkv").tags, form)
    for frame, wanted in zip(made.frames(), planes, strict=True):
        for a, b in zip(frame.planes, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "prores"])
def test_times_tags_and_turn(tmp_path, codec):
    """Every codec, with a variable rate and frames out of order: each time stamp exactly, and the colours near."""
    size = (72, 104)  # AV1's encoder wants 64 pixels
    write_clip(tmp_path / "in.mp4", stamps=STAMPS, size=size, codec="libx264", rotation=90, tags=BT601)
    output = tmp_path / ("out.mov" if codec == "prores" else "out.mp4")
    remade(tmp_path / "in.mp4", output, Encoding(codec))
    video, made = open_video(tmp_path / "in.mp4"), open_video(output)
    assert made.tags == video.tags
    assert (made.matrix, made.rotation) == (video.matrix, 90)
    assert [f.pts * made.time_base for f in made.frames()] == [Fraction(t, 600) for t in STAMPS]
    if codec == "prores":
        assert made.format == "yuv422p10le"
    for a, b in zip(video.frames(), made.frames(), strict=True):
        # The codecs are lossy: a constant error of a code would show as 1/255, colours under the wrong matrix as 0.02.
        assert np.abs(video.shown(a) - made.shown(b)).mean() < 0.006


def test_sound_and_metadata_are_copied(tmp_path):
    write_clip(tmp_path / "in.mp4", codec="libx264", audio="aac", metadata={"title": "a gradient"})
    remade(tmp_path / "in.mp4", tmp_path / "out.mkv", Encoding("ffv1"))
    remade(tmp_path / "in.mp4", tmp_path / "out.mp4", Encoding("h264"))
    assert packets(tmp_path / "out.mp4", "audio") == packets(tmp_path / "in.mp4", "audio")
    sound = [data for _, data in packets(tmp_path / "in.mp4", "audio")]
    assert [data for _, data in packets(tmp_path / "out.mkv", "audio")] == sound
    probe = shutil.which("ffprobe")
    if probe is None:
        pytest.skip("the rest asks ffprobe, which is not installed")
    asked = [probe, "-v", "error", "-show_format", "-show_streams", "-of", "json", str(tmp_path / "out.mp4")]
    said = json.loads(subprocess.run(asked, capture_output=True, check=True, timeout=60).stdout)
    assert said["format"]["tags"]["title"] == "a gradient"
    picture = next(s for s in said["streams"] if s["codec_type"] == "video")
    assert [picture[k] for k in ("color_range", "color_space", "nb_frames")] == ["tv", "bt709", "12"]


def test_sound_that_the_container_does_not_hold_is_encoded(tmp_path):
    write_clip(tmp_path / "in.mkv", audio="pcm_s16le", size=(72, 104))
    remade(tmp_path / "in.mkv", tmp_path / "out.webm", Encoding("av1"))
    times = [t for t, _ in packets(tmp_path / "out.webm", "audio")]
    assert 0.4 < times[-1] < 0.55  # the tone is 0.48 s and a rest of 1024 samples long
    remade(tmp_path / "in.mkv", tmp_path / "silent.webm", Encoding("av1"), audio=False)
    with pytest.raises(IndexError):
        packets(tmp_path / "silent.webm", "audio")


def test_a_part_begins_at_nought(tmp_path):
    write_clip(tmp_path / "in.mp4", codec="libx264", audio="aac")
    video = open_video(tmp_path / "in.mp4")
    some = list(video.frames(0.2, 0.4))
    made = Made(video, video.width, video.height, Encoding("ffv1"), Fraction(1, 5))
    write_piece(tmp_path / "0.nut", made, [(f.pts, f.planes) for f in some])
    join([tmp_path / "0.nut"], made, tmp_path / "out.mkv", end=0.4)
    times = [t for t, _ in packets(tmp_path / "out.mkv", "video")]
    assert times == [Fraction(k, 25) for k in range(5)]  # 40 ms are whole ms, which Matroska has
    sound = [t for t, _ in packets(tmp_path / "out.mkv", "audio")]
    assert 0 <= sound[0] < 0.03
    assert sound[-1] < 0.21


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    write_clip(tmp_path / "in.mkv")
    with pytest.raises(VideoError, match=r"out\.webm"):
        remade(tmp_path / "in.mkv", tmp_path / "out.webm", Encoding("ffv1"))
    with pytest.raises(FileNotFoundError), whole(tmp_path / "x.mkv") as partial:
        partial.rename(partial.with_suffix(".lost"))
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "0.nut", "1.nut"}


def test_another_size_says_the_matrix_that_was_assumed(tmp_path):
    write_clip(tmp_path / "in.mkv", 2, tags=Tags())
    video = open_video(tmp_path / "in.mkv")
    assert Made(video, 52, 36, Encoding("ffv1")).tags.matrix == 2
    assert Made(video, 52 * 20, 36 * 20, Encoding("ffv1")).tags.matrix == 6


def test_errors():
    with pytest.raises(ValueError, match=r"Encoding\.codec.*'vp8'"):
        Encoding("vp8")
    with pytest.raises(ValueError, match=r"Encoding\.crf.*52"):
        Encoding("h264", 52)
    with pytest.raises(ValueError, match=r"Encoding\.crf: ffv1"):
        Encoding("ffv1", 3)
