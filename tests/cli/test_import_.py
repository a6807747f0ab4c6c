"""Published weights become a model, by the command."""

from restore_jax.cli import main
from restore_jax.photo.read import read
from tests.methods.test_model import published


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
    command = ["export", "--model", str(model), "--to", "stablehlo", "--size", "16x16", "-o", str(graph)]
    assert main(command) == 0
    assert graph.stat().st_size > 0
