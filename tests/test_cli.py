"""The command, called as the shell calls it."""

import numpy as np
import pytest

from restore_jax.cli import main
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import weights_hash
from restore_jax.infer.load import load
from restore_jax.nets.safetensors_file import write_safetensors
from restore_jax.photo.read import read
from restore_jax.photo.write import write
from restore_jax.train.loop import train
from tests.infer.test_model import published
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


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An imported net, by the command."""
    folder = tmp_path_factory.mktemp("model")
    write_safetensors(folder / "net.safetensors", published())
    command = ["import", str(folder / "net.safetensors"), "-o", str(folder / "model"), "--licence", "MIT"]
    assert main(command) == 0
    return folder / "model"


def test_import_says_what_it_found(model, tmp_path, capsys):
    assert main(["import", str(model.parent / "net.safetensors"), "-o", str(tmp_path / "again")]) == 0
    said = capsys.readouterr().out
    numbers = sum(a.size for a in published().values())
    assert f"nets.nafnet.NAFNet, {numbers} parameters, scale 1" in said
    assert "licence: unknown" in said


def test_an_imported_model_restores_and_exports(model, picture, tmp_path):
    out, graph = tmp_path / "out.png", tmp_path / "net.stablehlo"
    assert main(["photo", str(picture), "-o", str(out), "--model", str(model), "--tile", "64"]) == 0
    assert read(out).shape == (40, 52, 3)
    command = ["export", "--model", str(model), "--to", "stablehlo", "--size", "16", "16", "-o", str(graph)]
    assert main(command) == 0
    assert graph.stat().st_size > 0


def test_an_imported_model_is_measured_by_a_protocol(model, picture, tmp_path, capsys):
    protocol = tmp_path / "protocol.py"
    photographs = {"name": "data.sets.folder.Folder", "path": str(picture.parent)}
    fields = {"photographs": photographs, "degrade": {"name": "degrade.noise.Gaussian", "std": 0.1}, "border_px": 2}
    protocol.write_text(f"def get_config(color='rgb'):\n    return {fields!r} | {{'color': color}}\n")
    assert main(["evaluate", str(model), "--protocol", f"{protocol}:luma", "--tile", "64"]) == 0
    said = capsys.readouterr().out
    assert "in.png" in said
    stamp = Protocol(**fields, color="luma").stamp()["hash"]
    weights = weights_hash(load(model))
    assert f"protocol {stamp}, weights {weights}" in said


def test_a_model_is_given_by_place_or_by_name(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate"])
    assert "give a model" in capsys.readouterr().err


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
        (["evaluate", "nowhere", "--protocol", "nowhere.py"], "holds no checkpoints"),
        (["import", "nowhere.pth", "-o", "x"], "no such file"),
        (["import", "IN", "-o", "x"], "neither a zip archive nor a pickle"),
        (["train", "nowhere.py", "--workdir", "x"], "nowhere.py"),
    ],
)
def test_mistakes_end_in_one_line(picture, capsys, arguments, said):
    assert main([str(picture) if a == "IN" else a for a in arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("restore-jax: ")
    assert "Traceback" not in error
