"""Runs below a folder as a table, two of them side by side, and the same as JSON."""

import json

import pytest

from restore_jax.cli import main
from tests.train.test_record import make


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "one", "first")
    make(tmp_path / "two", "second", rate=2e-3, rows=[(8, 2.5, 20.0)])
    return tmp_path


def test_a_table_of_all(folder, capsys):
    assert main(["runs", str(folder)]) == 0
    head, first, second = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["label", "state", "images", "loss", "best", "images/s", "commit", "path"]
    assert first.split() == ["first", "complete", "32/32", "1.5", "25", "-", "-", str(folder / "one")]
    assert second.split()[:5] == ["second", "interrupted", "8/32", "2.5", "20"]


def test_the_lowest_of_another_metric_as_json(folder, capsys):
    assert main(["runs", str(folder), "--metric", "loss", "--lowest", "--json"]) == 0
    assert [row["best"] for row in json.loads(capsys.readouterr().out)] == [1.0, 2.5]


def test_two_side_by_side(folder, capsys):
    assert main(["runs", "--compare", str(folder / "one"), str(folder / "two")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["optim.rate", "0.001", "0.002"] in lines
    assert ["loss", "1.5", "2.5"] in lines
    assert main(["runs", "--compare", str(folder / "one"), str(folder / "two"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["config"] == {"label": ["first", "second"], "optim.rate": [1e-3, 2e-3]}
    assert {"name": "heldout_psnr", "a": 24.0, "b": 20.0} in said["logged"]


def test_a_folder_without_runs_and_one_that_is_none(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["runs", str(tmp_path / "empty")]) == 1
    assert "holds no training runs" in capsys.readouterr().err
    assert main(["runs", "--compare", str(folder / "one"), str(tmp_path / "empty")]) == 1
    assert "is no workdir of a training run" in capsys.readouterr().err
