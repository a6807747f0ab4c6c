"""A graph, by the command."""

from restore_jax.cli import main


def test_export_stablehlo(workdir, tmp_path, capsys):
    path = tmp_path / "net.stablehlo"
    assert main(["export", str(workdir), "--to", "stablehlo", "--size", "16", "16", "-o", str(path)]) == 0
    assert path.stat().st_size > 0
    assert "noise (1, 16, 16, 3)" in capsys.readouterr().out
