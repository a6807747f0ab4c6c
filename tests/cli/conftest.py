"""A run, an imported model and a picture, for the commands to work on."""

import numpy as np
import pytest

from restore_jax.cli import main
from restore_jax.nets.safetensors_file import write_safetensors
from restore_jax.photo.write import write
from restore_jax.train.loop import train
from tests.methods.test_model import published
from tests.train.tiny import tiny_config


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """A training run, by the library."""
    folder = tmp_path_factory.mktemp("run")
    train(tiny_config(images=8, heldout_set={"name": "data.sets.embedded.Embedded", "split": "heldout"}), folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """An imported net, by the command."""
    folder = tmp_path_factory.mktemp("model")
    write_safetensors(folder / "net.safetensors", published())
    command = ["import", str(folder / "net.safetensors"), "-o", str(folder / "model"), "--licence", "MIT"]
    assert main(command) == 0
    return folder / "model"


@pytest.fixture
def picture(tmp_path):
    """Forty lines of noise."""
    path = tmp_path / "in.png"
    write(path, np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8))
    return path
