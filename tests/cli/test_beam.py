"""The command that scales out: what it makes of its arguments. Pipelines are run in tests/infer/test_beam.py."""

import json
import sys

import pytest

from restore_jax.cli import main
from restore_jax.infer import beam


@pytest.fixture
def asked(monkeypatch):
    """What reached the library."""
    calls = []

    def scale_out(*arguments):
        calls.append(arguments)
        return {"done": 2, "skipped": 1, "failed": len(calls) - 1, "pixels": 9}

    monkeypatch.setattr(beam, "scale_out", scale_out)
    return calls


def test_what_follows_pipeline_goes_to_beam(asked, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    base = ["beam", "--input", "photos", "-o", "out/", "--model", str(model)]
    more = ["--strength", "0.5", "--suffix", ".png", "--restarts", "1", "--runner", "FlinkRunner"]
    assert main([*base, *more, "--pipeline", "--flink_master", "host:1", "--model", "mine"]) == 0
    assert json.loads(capsys.readouterr().out) == {"done": 2, "skipped": 1, "failed": 0, "pixels": 9}
    ((settings, source, runner, options, restarts),) = asked
    assert source == f"{tmp_path}/photos/**"
    assert (settings.root, settings.output) == (f"{tmp_path}/photos/", f"{tmp_path}/out")
    assert (settings.strength, settings.suffix, settings.model) == (0.5, ".png", str(model))
    assert (runner, options, restarts) == ("FlinkRunner", ["--flink_master", "host:1", "--model", "mine"], 1)


def test_lists_and_remote_names_are_left_as_they_are(asked, model):
    assert main(["beam", "--input", "gs://b/names.txt", "-o", "gs://b/out", "--model", str(model)]) == 0
    ((settings, source, *_),) = asked
    assert (source, settings.root, settings.output) == ("gs://b/names.txt", "", "gs://b/out")


def test_failures_are_counted_in_the_last_line(asked, model):
    command = ["beam", "--input", "*.jpg", "-o", "out", "--model", str(model)]
    assert main(command) == 0
    with pytest.raises(SystemExit, match=r"1 of 4 photographs could not be restored: see .*/out/dead_letters\.jsonl"):
        main(command)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere"], "holds no checkpoints"),
        (["--model", "MODEL", "--strength", "2"], "Settings.strength lies in [0, 1], not 2.0"),
        (["--model", "MODEL", "--suffix", "png"], "Settings.suffix is one of"),
        (["--model", "MODEL"], 'pip install "restore-jax[beam]"'),
    ],
)
def test_mistakes_end_in_one_line(model, capsys, monkeypatch, arguments, said):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    given = [str(model) if a == "MODEL" else a for a in arguments]
    assert main(["beam", "--input", "*.jpg", "-o", "out", *given]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
