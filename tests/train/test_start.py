"""What a run begins from is refused by name where it does not fit; runs that begin so are in `test_loop`."""

import pytest

from restore_jax.train import start
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.start import averaged, starting_from
from tests.train.test_rollback import fresh
from tests.train.tiny import Bare


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
