"""The command, called as the shell calls it."""

import numpy as np
import pytest

from restore_jax.cli import main
from restore_jax.photo.read import read
from restore_jax.photo.write import write
from restore_jax.train.loop import train
from tests.train.tiny import tiny_config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny_config(images=8, heldout_set={"name": "data.sets.embedded.Embedded", "split": "heldout"}), folder)
    return folder


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "in.png"
    write(path, np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8))
    return path


def test_photo(workdir, picture, tmp_path):
    assert main(["photo", str(picture), "-o", str(tmp_path / "out.png"), "--model", str(workdir)]) == 0
    assert read(tmp_path / "out.png").shape == (40, 52, 3)


def test_a_bad_photograph_does_not_stop_the_others(workdir, picture, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match="1 of 2 photographs"):
        main(["photo", str(tmp_path / "bad.png"), str(picture), "-o", str(out), "--model", str(workdir)])
    assert (out / "in.png").exists()
    assert "bad.png" in capsys.readouterr().err


def test_export_stablehlo(workdir, tmp_path, capsys):
    path = tmp_path / "net.stablehlo"
    assert main(["export", str(workdir), "--to", "stablehlo", "--size", "16", "16", "-o", str(path)]) == 0
    assert path.stat().st_size > 0
    assert "noise (1, 16, 16, 3)" in capsys.readouterr().out


def test_evaluate(workdir, capsys):
    assert main(["evaluate", str(workdir), "--overlap", "16"]) == 0
    assert "mean" in capsys.readouterr().out


@pytest.mark.parametrize("spec", ["degrade.blur.GaussianBlur", '{"name": "degrade.downsample.Downsample", "scale": 2}'])
def test_show(picture, tmp_path, spec):
    out = tmp_path / "sheet.png"
    assert main(["show", "degrade", spec, "--image", str(picture), "-o", str(out)]) == 0
    assert read(out).shape[1] > 4 * 384


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "nowhere"], "holds no checkpoints"),
        (["show", "degrade", "degrade.blur.GaussianBlurr", "--image", "IN", "-o", "x.png"], "Did you mean"),
        (["show", "degrade", "degrade.blur.GaussianBlur", "--image", "nowhere.png", "-o", "x.png"], "nowhere.png"),
        (["train", "nowhere.py", "--workdir", "x"], "nowhere.py"),
    ],
)
def test_mistakes_end_in_one_line(picture, capsys, arguments, said):
    assert main([str(picture) if a == "IN" else a for a in arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("restore-jax: ")
    assert "Traceback" not in error
