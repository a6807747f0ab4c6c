"""Photographs in, photographs out, by the command; its exit status."""

import pytest

from restore_jax.cli import main
from restore_jax.photo.read import read


def test_a_photograph_through_a_training_run(workdir, picture, tmp_path):
    assert main(["photo", str(picture), "-o", str(tmp_path / "out.png"), "--model", str(workdir)]) == 0
    assert read(tmp_path / "out.png").shape == (40, 52, 3)


@pytest.mark.parametrize(("inputs", "status"), [(("bad.png", "in.png"), 1), (("nothing*.png",), 2)])
def test_the_exit_status_tells(workdir, picture, tmp_path, capsys, inputs, status):
    (tmp_path / "bad.png").write_text("no picture")
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main(["photo", *(str(tmp_path / one) for one in inputs), "-o", str(out), "--model", str(workdir)])
    assert stop.value.code == status
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if status == 1:
        assert (out / "in.png").exists()
        assert "bad.png: " in said
        assert "1 restored, 1 failed" in said
    else:
        assert said.startswith("restore-jax photo: no photographs")
