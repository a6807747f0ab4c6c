"""A run comes back as the restorer it has learned."""

import jax
import numpy as np
import pytest

from restore_jax.build import SpecError, build
from restore_jax.core import Observation
from restore_jax.infer.load import load
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
