"""A run becomes a model that restores as the run does."""

import json

import jax
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.infer.load import load
from restore_jax.infer.model import write_model
from restore_jax.infer.pack import pack
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


def test_nothing_cannot_be_packed(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        pack(tmp_path)
