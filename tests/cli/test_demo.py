"""What models do to a photograph, by the command."""

from restore_jax import zoo
from restore_jax.cli import main


def test_a_packed_run_is_shown(workdir, tmp_path, capsys):
    folder = tmp_path / "tiny"
    assert main(["pack", str(workdir), "-o", str(folder), "--task", "denoise"]) == 0
    assert main(["demo", str(folder), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "tiny " in said
    assert "dB -> " in said
    assert (tmp_path / "out" / "demo.png").exists()


def test_without_models_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "names", lambda: ())
    assert main(["demo", "-o", str(tmp_path)]) == 1
    assert "no models are shipped" in capsys.readouterr().err


def test_an_imported_model_says_what_is_missing(model, tmp_path, capsys):
    assert main(["demo", str(model), "-o", str(tmp_path)]) == 1
    assert "does not say what damage" in capsys.readouterr().err
