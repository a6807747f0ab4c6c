"""A run comes back as the restorer it has learned."""

import jax
import numpy as np
import pytest

from restore_jax.build import SpecError, build
from restore_jax.core import Observation
from restore_jax.infer.load import load
from restore_jax.methods.model import Model, flat, write_model
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.loop import train
from tests.train.tiny import tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    return workdir, train(tiny_config(images=8), workdir)


def test_the_averaged_parameters_restore(run):
    workdir, state = run
    obs = Observation(y=np.full((1, 16, 16, 3), 0.3, np.float32))
    expected = build(tiny_config()["method"]).restorer(state.ema)(jax.random.key(0), obs)
    np.testing.assert_array_equal(load(workdir)(jax.random.key(0), obs), expected)


def test_another_sampler(run):
    sampler = {"name": "diffusion.sampler.Consistency", "sigmas": (1.0, 0.1), "start": "image"}
    assert load(run[0]).nfe == 1
    assert load(run[0], sampler).nfe == 2
    with pytest.raises(SpecError, match="Did you mean"):
        load(run[0], {"name": "diffusion.sampler.Consistancy"})


def test_a_model_comes_back_too(tmp_path):
    config = tiny_config()["method"]
    net = build(config["net"])
    y = jax.numpy.full((1, 8, 8, 3), 0.3)
    params = jax.tree.map(np.asarray, net.init(jax.random.key(0), y, jax.numpy.ones(1), y)["params"])
    write_model(tmp_path / "model", Model(config | {"scale": 1}, params))
    restored = load(tmp_path / "model")
    for name, leaf in flat(restored.params).items():
        np.testing.assert_array_equal(leaf, flat(params)[name])
    assert load(tmp_path / "model", {"name": "diffusion.once.Once", "sigma": 0.5}).draws == 0


def test_a_folder_with_neither(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        load(tmp_path)
