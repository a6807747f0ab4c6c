"""A run becomes a model, by the command."""

from restore_jax.cli import main


def test_a_packed_run_is_listed_and_restores(workdir, picture, tmp_path, capsys):
    out = tmp_path / "models" / "tiny"
    out.parent.mkdir()
    assert main(["pack", str(workdir), "-o", str(out), "--task", "denoise", "--licence", "CC0-1.0"]) == 0
    assert "8 images of" in capsys.readouterr().out
    assert main(["models", str(out.parent)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("tiny ")
    assert "denoise" in said
    assert "CC0-1.0" in said
    assert main(["pack", str(workdir), "-o", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
