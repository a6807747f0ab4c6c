"""The command, called as the shell calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

import restore_jax.cli
from restore_jax.cli import commands, main


def test_every_command_says_what_it_is(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert set(commands()) >= {"evaluate", "export", "import", "photo", "show", "train"}
    assert all(f"\n    {name} " in said for name in commands())


def test_help_does_not_wait_for_jax():
    heavy = "import sys; from restore_jax.cli import parser; parser(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0


def test_a_command_is_one_file():
    files = {path.stem.rstrip("_") for path in Path(restore_jax.cli.__file__).parent.glob("[a-z]*.py")}
    assert set(commands()) == files - {"arguments"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "nowhere"], "holds no checkpoints"),
        (["show", "degrade", "degrade.blur.GaussianBlurr", "--image", "IN", "-o", "x.png"], "Did you mean"),
        (["show", "degrade", "degrade.blur.GaussianBlur", "--image", "nowhere.png", "-o", "x.png"], "nowhere.png"),
        (["evaluate", "nowhere", "--protocol", "nowhere.py"], "holds no checkpoints"),
        (["import", "nowhere.pth", "-o", "x"], "no such file"),
        (["import", "IN", "-o", "x"], "neither a zip archive nor a pickle"),
        (["train", "nowhere.py", "--workdir", "x"], "nowhere.py"),
    ],
)
def test_mistakes_end_in_one_line(picture, capsys, arguments, said):
    assert main([str(picture) if a == "IN" else a for a in arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("restore-jax: ")
    assert "Traceback" not in error
