"""A run becomes a model that restores as the run does."""

import json
import shutil

import jax
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.infer.load import load
from restore_jax.infer.pack import _curve, pack
from restore_jax.methods.model import read_model, write_model
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.loop import train
from tests.train.tiny import tiny_config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny_config(images=8), folder)
    return folder


def test_it_restores_as_the_run_does(workdir, tmp_path):
    model = pack(workdir, "denoise", "CC0-1.0", "photographs", "their photographers")
    folder = write_model(tmp_path / "model", model)
    y = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    one, other = (load(path)(jax.random.key(0), Observation(y=y)) for path in (workdir, folder))
    np.testing.assert_array_equal(one, other)


def test_it_says_where_it_came_from(workdir):
    said = pack(workdir, "denoise", "CC0-1.0", "photographs").provenance
    assert said["images"] == "8"
    assert said["licence"] == "CC0-1.0"
    assert said["devices"] == json.loads((workdir / "run.json").read_text())["starts"][-1]["devices"]


def test_what_was_seen_before_is_counted(workdir, tmp_path):
    """From a run, then from the model of that: images add up, whatever becomes of the start."""
    train(tiny_config(images=12, start=str(workdir)), tmp_path / "second")
    second = pack(tmp_path / "second")
    assert (second.provenance["images"], second.provenance["start_images"]) == ("12", "8")
    write_model(tmp_path / "model", second)
    train(tiny_config(images=4, start=str(tmp_path / "model")), tmp_path / "third")
    said = pack(tmp_path / "third").provenance
    assert (said["start"], said["images"], said["start_images"]) == ("model", "4", "20")
    shutil.rmtree(tmp_path / "model")
    assert pack(tmp_path / "third").provenance == said
    write_model(tmp_path / "model", pack(tmp_path / "third"))  # another by the same name
    assert pack(tmp_path / "third").provenance == said


def test_it_says_what_it_mends_and_how_it_learned(workdir, tmp_path):
    model = read_model(write_model(tmp_path / "model", pack(workdir)))
    assert model.degrade == {"name": "degrade.noise.Gaussian", "std": 0.1}
    rows = [json.loads(line) for line in (workdir / "table.jsonl").read_text().splitlines()]
    assert model.curve == tuple((row["images"], round(row["loss"], 6)) for row in rows if "loss" in row)


def test_a_long_curve_is_of_means(tmp_path):
    rows = [{"images": 10 * k, "loss": float(k)} for k in range(1, 101)] + [{"images": 1000, "heldout_psnr": 30.0}]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = _curve(tmp_path)
    assert len(curve) == 34  # 100 rows by threes, the last alone
    assert curve[:2] == ((30, 2.0), (60, 5.0))
    assert curve[-1] == (1000, 100.0)


def test_nothing_cannot_be_packed(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        pack(tmp_path)
