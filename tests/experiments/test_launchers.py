"""The launchers as a user starts them: overrides, mistakes, and what they print."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = '''"""A run of seconds."""
from ml_collections import ConfigDict
from tests.train.tiny import tiny_config

def get_config(arg=""):
    return ConfigDict(tiny_config(heldout_set={"name": "data.sets.embedded.Embedded", "split": "heldout"}))
'''


def launch(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch")
    (folder / "tiny.py").write_text(CONFIG)
    config, workdir = f"--config={folder / 'tiny.py'}", f"--workdir={folder / 'run'}"
    return config, workdir, launch("experiments.train", config, workdir, "--config.images=8")


def test_train_then_evaluate(run):
    config, workdir, trained = run
    assert trained.returncode == 0, trained.stderr
    measured = launch("experiments.evaluate", config, workdir, "--overlap_px=16")
    assert measured.returncode == 0, measured.stderr
    assert "mean" in measured.stdout
    content = json.loads((Path(workdir.partition("=")[2]) / "evaluation.json").read_text())
    assert [row["photograph"] for row in content["rows"]][-1] == "mean"
    assert content["rows"][0]["protocol"] == content["protocol"]["hash"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("--config.imags=8", "Did you mean"),
        pytest.param("--config.images=many", "invalid literal|Wrong type|expected int|parsing", marks=pytest.mark.soak),
        pytest.param("--config.images=16", "belongs to another config", marks=pytest.mark.soak),
    ],
)
def test_mistakes_are_said(run, override, said):
    config, workdir, _ = run
    failed = launch("experiments.train", config, workdir, override)
    assert failed.returncode != 0
    import re

    assert re.search(said, failed.stderr), failed.stderr


def test_a_workdir_in_the_way(run, tmp_path):
    (tmp_path / "file").write_text("")
    failed = launch("experiments.train", run[0], f"--workdir={tmp_path / 'file' / 'run'}")
    assert failed.returncode == 1
    assert "Choose a folder that you may write to" in failed.stderr
