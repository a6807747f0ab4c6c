"""Photographs in, photographs out, by the command."""

import pytest

from restore_jax.cli import main
from restore_jax.photo.read import read


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
