"""The work of the command: folders, what is skipped, what fails, reports, and what goes wrong before any work."""

import json
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import restore_jax.evaluate.photographs
import restore_jax.export.runner
from restore_jax.cli import parser
from restore_jax.evaluate.photographs import Photographs, device_named
from restore_jax.infer.jobs import JOURNAL
from restore_jax.photo.photo import open_photo
from restore_jax.photo.write import write

RNG = np.random.default_rng(0)


class Inverse:
    """Answers the negative, enlarged by repeated pixels."""

    draws, halo_px = 0, 0

    def __init__(self, scale=1):
        self.scale = scale

    def __call__(self, key, obs):
        y = 1 - jnp.asarray(obs.y)
        return jnp.repeat(jnp.repeat(y, self.scale, -3), self.scale, -2)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Three photographs of one size in folders, and models that need no training."""
    for name in ("a.png", "deep/b.png", "deep/c.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "in" / name, RNG.integers(0, 256, (24, 32, 3), np.uint8))
    for name, card in (("denoise", {"task": "denoise"}), ("sr2", {"scale": 2})):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").write_text(json.dumps({**card, "params_sha256": name}))
    monkeypatch.setattr(restore_jax.export.runner, "load", lambda path: Inverse(2 if path.name == "sr2" else 1))
    return tmp_path


def work(world, *options, out="out", inputs=("in",)):
    """Restores, and answers the exit status."""
    command = ["photo", *(str(world / one) if one != "-" else one for one in inputs)]
    command += ["-o", out if out == "-" else str(world / out), "--models", str(world / "models"), *options]
    return Photographs.of(vars(parser().parse_args(command))).run()


def test_a_folder_is_restored_and_then_skipped(world, capsys):
    assert work(world, "--task", "denoise") == 0
    for name in ("a.png", "deep/b.png"):
        np.testing.assert_array_equal(
            open_photo(world / "out" / name).pixels, 255 - open_photo(world / "in" / name).pixels
        )
    assert "3 restored" in capsys.readouterr().err
    times = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.*g")}
    assert len(times) == 3
    write(world / "in" / "d.png", RNG.integers(0, 256, (24, 32, 3), np.uint8))
    assert work(world, "--task", "denoise") == 0
    assert "1 restored, 3 done before" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert work(world, "--task", "denoise", "--strength", "0.5") == 0
    assert "4 restored;" in capsys.readouterr().err  # other settings
    assert len((world / "out" / JOURNAL).read_text().splitlines()) == 16  # begun and done


def test_a_bad_file_stops_nobody(world, capsys):
    (world / "in" / "bad.png").write_text("no picture")
    (world / "out").mkdir()
    (world / "out" / "a.png").write_text("somebody's own")
    assert work(world, "--task", "denoise") == 1
    said = capsys.readouterr().err
    assert "bad.png: not a picture" in said
    assert "a.png exists already: --overwrite replaces it" in said
    assert "2 restored, 2 failed" in said
    assert (world / "out" / "a.png").read_text() == "somebody's own"
    assert work(world, "--task", "denoise", "--overwrite") == 1
    assert open_photo(world / "out" / "a.png").width == 32


def test_auto_keeps_what_needs_nothing(world, capsys):
    write(world / "in" / "flat.png", np.full((32, 32, 3), 128, np.uint8))
    assert work(world, "-v", inputs=("in/a.png", "in/flat.png")) == 0  # noise, and nothing at all
    said = capsys.readouterr().err
    assert "denoise by denoise" in said
    assert "kept as it is" in said
    np.testing.assert_array_equal(open_photo(world / "out" / "flat.png").pixels, 128)


def test_the_report_shows_what_was_done(world):
    assert work(world, "--task", "sr2", "--report", str(world / "report.html"), out="x.png", inputs=("in/a.png",)) == 0
    page = (world / "report.html").read_text()
    for word in (
        "before",
        "after",
        "Difference",
        "Spread",
        "residual",
        "hallucination",
        "24 to 64 x 48",
        "sr2",
        "noise",
    ):
        assert word in page
    assert open_photo(world / "x.png").width == 64
    assert work(world, "--task", "sr2", out="y.png", inputs=("in/a.png",)) == 0
    np.testing.assert_array_equal(open_photo(world / "x.png").pixels, open_photo(world / "y.png").pixels)


def test_large_ones_go_to_the_file_by_bands(world, monkeypatch):
    assert work(world, "--task", "denoise", out="whole.png", inputs=("in/a.png",)) == 0
    monkeypatch.setattr(restore_jax.evaluate.photographs, "BAND_MP", 0.0)
    assert work(world, "--task", "denoise", out="bands.png", inputs=("in/a.png",)) == 0
    np.testing.assert_array_equal(open_photo(world / "whole.png").pixels, open_photo(world / "bands.png").pixels)


def test_only_the_holes_of_a_mask_change(world):
    (world / "models" / "fill").mkdir()
    (world / "models" / "fill" / "model.json").write_text('{"task": "inpaint"}')
    mask = np.zeros((24, 32, 3), np.uint8)
    mask[5:9, 10:20] = 255
    write(world / "mask.png", mask)
    options = ("--task", "inpaint", "--mask", str(world / "mask.png"))
    assert work(world, *options, out="x.png", inputs=("in/a.png",)) == 0
    y = open_photo(world / "in" / "a.png").pixels
    np.testing.assert_array_equal(open_photo(world / "x.png").pixels, np.where(mask > 0, 255, y))  # 1 - 0


def test_standard_streams(world, monkeypatch, capsysbinary):
    data = (world / "in" / "a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=lambda: data)))
    assert work(world, "--task", "denoise", "--format", "png", out="-", inputs=("-",)) == 0
    np.testing.assert_array_equal(open_photo(capsysbinary.readouterr().out).pixels, 255 - open_photo(data).pixels)


def test_many_sizes_share_a_program(world):
    for n in range(6):
        write(world / "in" / f"{n}.png", RNG.integers(0, 256, (200 + n, 210, 3), np.uint8))
    command = ["photo", str(world / "in"), "-o", str(world / "out"), "--models", str(world / "models")]
    tasks = Photographs.of(vars(parser().parse_args([*command, "--task", "denoise"]))).tasks
    assert tasks.tile("denoise").tile_px is not None
    assert Photographs.of(vars(parser().parse_args([*command[:1], command[1] + "/deep", *command[2:]]))).sizes


def test_a_warning_is_one_line(world, capsys):
    rgba = np.dstack([RNG.integers(0, 256, (8, 8, 3), np.uint8), np.full((8, 8), 100, np.uint8)])
    Image.fromarray(rgba).save(world / "in" / "alpha.png")
    assert work(world, "--task", "denoise", "--format", "jpg", out="out", inputs=("in/alpha.png",)) == 0
    assert "alpha" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--task", "inpaint"), "--mask FILE go together"),
        (("--task", "denoise", "--mask", "m.png"), "--mask FILE go together"),
        (("--task", "jpeg"), "no model for the task jpeg"),
        (("--task", "denoise", "--strength", "2"), r"Finish\.strength"),
        (("--task", "denoise", "--quality", "0"), "--quality"),
        (("--task", "denoise", "--samples", "3"), "draws nothing"),
        (("--task", "denoise", "--device", "phone"), "--device is cpu, gpu or tpu"),
        (("--task", "denoise", "--device", "cpu:99"), "counted from 0"),
    ],
)
def test_mistakes_are_said_before_any_work(world, options, said):
    with pytest.raises(ValueError, match=said):
        work(world, *options)
    assert not (world / "out").exists()


def test_nothing_to_do_is_said(world):
    (world / "empty").mkdir()
    with pytest.raises(ValueError, match="nothing to do"):
        work(world, "--task", "denoise", inputs=("empty",))


def test_a_device_has_a_name():
    assert device_named("cpu") == device_named("cpu:0") == jax.devices("cpu")[0]
