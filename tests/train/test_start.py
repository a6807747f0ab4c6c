"""What a run begins from is refused by name where it does not fit; runs that begin so are in `test_loop`."""

import jax
import numpy as np
import pytest

from restore_jax import zoo
from restore_jax.methods.model import Model, read_model, write_model
from restore_jax.train import start
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.start import averaged, starting_from
from tests.train.test_rollback import fresh
from tests.train.tiny import Bare
from tests.zoo.test_zoo import METHOD


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        averaged(tmp_path)


def test_the_methods_own_rule_decides_and_both_copies_are_its_own(monkeypatch):
    import jax.numpy as jnp

    class Doubles(Bare):
        def adopt(self, params, theirs):
            return {"w": 2 * theirs["w"]}

    monkeypatch.setattr(start, "averaged", lambda workdir: {"w": jnp.ones(2)})
    state = starting_from(fresh(), Doubles(), "there")
    assert state.params["w"].tolist() == state.ema["w"].tolist() == [2.0, 2.0]
    assert state.params["w"] is not state.ema["w"]


def test_a_model_is_a_start_as_a_run_is(tmp_path):
    params = {"body": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    write_model(tmp_path / "model", Model(METHOD, params))
    found = averaged(tmp_path / "model")
    assert found["body"]["kernel"].tolist() == params["body"]["kernel"].tolist()


def test_a_shipped_model_is_a_start_by_its_name():
    name = zoo.names()[0]
    shipped = read_model(zoo.FOLDER / name).params
    assert all(map(np.array_equal, jax.tree.leaves(averaged(name)), jax.tree.leaves(shipped)))
