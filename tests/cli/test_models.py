"""What models there are, by the command."""

from restore_jax import zoo
from restore_jax.cli import main


def test_the_shipped_ones_are_listed(capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{said}" for name in zoo.names())


def test_an_empty_folder_says_how_to_fill_it(tmp_path, capsys):
    assert main(["models", str(tmp_path)]) == 0
    assert "restore-jax pack" in capsys.readouterr().out
