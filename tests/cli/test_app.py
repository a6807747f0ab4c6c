"""The command that serves the page: it starts, answers, and ends with nothing left."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from restore_jax import zoo
from restore_jax.cli import main
from restore_jax.evaluate.demo import PRIOR
from restore_jax.methods.model import read_model


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere"], "nowhere is no model"),
        (["--model", "MODEL", "--max-mb", "0"], "Limits.max_mb must be above 0, not 0.0"),
        (["--model", "MODEL", "--max-megapixels", "-1"], "Limits.max_megapixels must be above 0"),
    ],
)
def test_mistakes_end_in_one_line(model, capsys, arguments, said):
    pytest.importorskip("uvicorn", reason='the extra "app" is not installed')
    assert main(["app", *(str(model) if a == "MODEL" else a for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_a_model_all_that_are_shipped_are_offered(monkeypatch, capsys):
    """But for priors, which restore nothing by themselves."""
    pytest.importorskip("uvicorn", reason='the extra "app" is not installed')

    def offered(models, limits, hosts):
        raise ValueError(" ".join(models))

    monkeypatch.setattr("restore_jax.app.server.app", offered)
    assert main(["app", "--port", "0"]) == 1
    said = capsys.readouterr().err.split()
    assert {name for name in zoo.names() if read_model(zoo.FOLDER / name).task != PRIOR} <= set(said)


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_without_the_extra_the_pip_command_is_said(model, capsys, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["app", "--model", str(model), "--port", "0"]) == 1
    assert 'pip install "restore-jax[app]"' in capsys.readouterr().err


def test_it_serves_until_it_is_told_to_end(model, tmp_path):
    pytest.importorskip("uvicorn", reason='the extra "app" is not installed')
    command = [sys.executable, "-m", "restore_jax.cli", "app", "--model", str(model), "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        address = server.stdout.readline().split()[4]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/models", timeout=60) as answer:
            assert json.load(answer)["models"] == ["model"]
        assert list(tmp_path.glob("restore_jax-*"))
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=60)
    assert server.returncode == 0, said
    assert said == ("", "")
    assert not list(tmp_path.glob("restore_jax-*"))
