"""Files become frames: the codes, the times, the tags and the turn that were written."""

from fractions import Fraction

import numpy as np
import pytest

from restore_jax.photo.video import VideoError, open_video, planar_name
from tests.photo.made_video import BT601, BT709, BT2020, Tags, write_clip

JPEG = Tags(2, 1, 1, 1)


@pytest.mark.parametrize(
    ("form", "tags"),
    [("yuv420p", BT709), ("yuv420p", BT601), ("yuv420p10le", BT2020), ("yuv444p", JPEG), ("gray", BT709)],
)
def test_codes_and_tags(tmp_path, form, tags):
    planes = write_clip(tmp_path / "in.mkv", 3, form=form, tags=tags)
    video = open_video(tmp_path / "in.mkv")
    assert (video.tags, video.format, video.height, video.width) == (tags, form, 36, 52)
    assert video.coding.full == (tags.range == 2)
    for frame, wanted in zip(video.frames(), planes, strict=True):
        for a, b in zip(frame.planes, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_times_of_a_variable_rate(tmp_path):
    stamps = [0, 7, 50, 51, 400]
    write_clip(tmp_path / "in.mp4", 5, stamps=stamps, codec="libx264")
    video = open_video(tmp_path / "in.mp4")
    times = [video.seconds(frame) for frame in video.frames()]
    assert times == [Fraction(t, 600) for t in stamps]
    assert [frame.index for frame in video.frames(7 / 600 - 1e-9, 51 / 600)] == [1, 2]  # the end is not in it


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_turned_video_is_shown_upright(tmp_path, degrees, turns):
    write_clip(tmp_path / "in.mp4", 2, rotation=degrees, codec="libx264")
    video = open_video(tmp_path / "in.mp4")
    frame = next(video.frames())
    assert video.turns == turns
    shown = video.shown(frame)
    np.testing.assert_array_equal(shown, np.rot90(video.coding.shown(frame.planes), turns))
    np.testing.assert_array_equal(video.stored(shown), video.coding.shown(frame.planes))


def test_files_that_are_no_video(tmp_path):
    for name, content in (("empty.mp4", b""), ("text.mp4", b"no video at all" * 99)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=name):
            open_video(tmp_path / name)
    with pytest.raises(VideoError, match="missing"):
        open_video(tmp_path / "missing.mp4")


def test_a_damaged_video_is_named(tmp_path):
    """The second half of a lossless file with check sums, overwritten."""
    path = tmp_path / "in.mp4"
    write_clip(path, 12, codec="libx264", options={"g": "1"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])  # without its index
    with pytest.raises(VideoError, match=r"in\.mp4"):
        list(open_video(path).frames())


def test_names_of_planar_formats():
    assert planar_name("nv12") == "yuv420p"
    assert planar_name("rgba") == "gbrp"
    assert planar_name("xyz12le") is None
