"""Figures, by the command."""

from restore_jax.cli import main
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import weights_hash
from restore_jax.infer.load import load


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
