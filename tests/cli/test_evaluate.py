"""Figures, by the command."""

import json

import numpy as np
import pytest

from restore_jax.cli import main
from restore_jax.data.sets.embedded import Embedded
from restore_jax.evaluate import sheet
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate, weights_hash
from restore_jax.evaluate.standard import standard
from restore_jax.infer.load import load
from restore_jax.methods.model import read_model
from restore_jax.photo.write import write


def test_evaluate(workdir, capsys):
    assert main(["evaluate", str(workdir), "--overlap", "16"]) == 0
    assert "mean" in capsys.readouterr().out


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
    assert main(["evaluate"]) == 1
    assert "give a model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The embedded photographs, cut small, as a made-up Set5 and as a LIVE1."""
    root = tmp_path_factory.mktemp("sets")
    photographs = Embedded("heldout")
    for folder, side in (("Set5/HR", 48), ("LIVE1", 48)):
        (root / folder).mkdir(parents=True)
        for name, photo in zip(photographs.names, photographs):
            write(root / folder / f"{name}.png", np.asarray(photo)[:side, :side])
    return root


def test_standard_sets_by_name(model, sets, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sheet, "_perceptual", lambda x_hat, x: None)  # seconds of compilation
    command = ["evaluate", str(model), "--data", str(sets), "--set", "Set5", "LIVE1", "--degradation", "noise-25"]
    assert main([*command, "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "Set5 noise-25: RGB, border 0, data range 1, rounded to 8 bits, seed 0, degraded by" in said
    assert "3 photographs, and the set has 5" in said
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(row["set"], row["count"]) for row in rows] == [("Set5", 3), ("LIVE1", 3)]
    protocol = standard("LIVE1", "noise-25", str(sets))
    expected = evaluate(load(model), protocol)[-1]
    assert abs(rows[1]["psnr"] - expected["psnr"]) < 1e-3  # tiled, as against whole
    assert (rows[1]["protocol"], rows[1]["weights"]) == (expected["protocol"], expected["weights"])
    assert (rows[1]["params"], rows[1]["model"]) == (read_model(model).parameters, "model")
    before = (tmp_path / "pictures.jsonl").read_text()
    assert main([*command, "-o", str(tmp_path)]) == 0
    assert (tmp_path / "pictures.jsonl").read_text() == before, "nothing is measured twice"


def test_bicubic_is_a_model_of_any_scale(sets, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sheet, "_perceptual", lambda x_hat, x: None)
    command = ["evaluate", "bicubic", "--data", str(sets), "--set", "Set5", "--degradation", "bicubic-x2"]
    assert main([*command, "-o", str(tmp_path)]) == 0
    assert "luma, border 2" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert (row["model"], row["params"], row["weights"]) == ("bicubic", 0, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "Urban100", "--degradation", "noise-25"], "Urban100 is not below"),
        (["--set", "Set5"], "none of the standard degradations"),
        (["--set", "Set5", "--degradation", "noise-25", "--protocol", "x.py"], "no --protocol"),
    ],
)
def test_what_is_missing_is_said(words, said, sets, tmp_path, capsys):
    assert main(["evaluate", "bicubic", "--data", str(sets), "-o", str(tmp_path), *words]) == 1
    assert said in capsys.readouterr().err


def test_an_output_belongs_to_sets(model, tmp_path, capsys):
    assert main(["evaluate", str(model), "-o", str(tmp_path)]) == 1
    assert "--data FOLDER --set NAME" in capsys.readouterr().err
