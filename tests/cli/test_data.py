"""The check of a folder, by the command."""

import json

import numpy as np
import pytest

from restore_jax.cli import main
from restore_jax.photo.write import write


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        write(tmp_path / "photos" / f"{i}.png", np.random.default_rng(i).integers(0, 256, (70, 80, 3), np.uint8))
    return tmp_path / "photos"


def test_nothing_found(folder, capsys):
    assert main(["data", "check", str(folder)]) == 0
    assert capsys.readouterr().out == "2 photographs checked.\nNothing was found.\n"


def test_what_is_found_ends_in_status_1(folder, tmp_path, capsys):
    (folder / "bad.png").write_text("no picture")
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "a.png").write_bytes((folder / "1.png").read_bytes())
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(folder), "--against", str(tmp_path / "eval"), "--json"])
    assert ended.value.code == 1
    report = json.loads(capsys.readouterr().out)
    assert report["unreadable"][0][0] == "bad.png"
    assert report["leaks"] == [{"name": "1.png", "against": f"{tmp_path / 'eval'}/a.png", "bits": -1}]


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--threshold=65"], "check.threshold is 0 ... 64"), (["--against", "nowhere"], "nowhere")]
)
def test_mistakes_end_in_one_line(folder, capsys, arguments, says):
    assert main(["data", "check", str(folder), *arguments]) == 1
    assert says in capsys.readouterr().err
