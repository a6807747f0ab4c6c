"""Videos in, videos out, by the command."""

import json

import pytest

from restore_jax.cli import main
from restore_jax.photo.video import open_video
from tests.photo.made_video import packets, write_clip


def test_video(workdir, tmp_path, capsys):
    write_clip(tmp_path / "in.mp4", 6, codec="libx264", audio="aac")
    command = ["video", str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out.mp4"), "--model", str(workdir),
               "--batch", "2", "--segment-seconds", "0.12", "--json", str(tmp_path / "report.json")]  # fmt: skip
    assert main(command) == 0
    assert "flicker: warping error" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["flicker"]["each_after"]) == len(report["flicker"]["frames"]) >= 3
    times = lambda path: [frame.pts * open_video(path).time_base for frame in open_video(path).frames()]
    assert times(tmp_path / "out.mp4") == times(tmp_path / "in.mp4")
    assert packets(tmp_path / "out.mp4", "audio") == packets(tmp_path / "in.mp4", "audio")
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_task_without_a_model(tmp_path, capsys):
    write_clip(tmp_path / "in.mp4", 2, codec="libx264")
    command = ["video", str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out.mp4"), "--models", str(tmp_path)]
    for task in ("denoise", "auto"):
        assert main([*command, "--task", task]) == 1
        assert "--model" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--crf", "99"], "Encoding.crf of h264"),
        (["--codec", "ffv1", "--crf", "3"], "no rate factor"),
        (["--start", "2", "--end", "1"], "Cut.end"),
        ([], "in.mp4"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, options, said):
    (tmp_path / "in.mp4").write_bytes(b"no video")
    command = ["video", str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out.mp4"), "--model", "none", *options]
    assert main(command) == 1
    said_lines = capsys.readouterr().err.strip().splitlines()
    assert len(said_lines) == 1
    assert said in said_lines[0]
