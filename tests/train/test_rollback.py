"""Going back: where to, how often, at what rate; and a killed run remembers it."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import TrainState
from restore_jax.train.guard import Divergence
from restore_jax.train.rollback import Diverged, Rollbacks

RULE = Divergence(rows=2, times=2, slower=0.5)


def fresh(rate=1.0, rollbacks=0):
    aux = {"rate": jnp.float32(rate), "rollbacks": jnp.int32(rollbacks), "mine": jnp.ones(2)}
    return TrainState(step=jnp.int32(4), params={}, ema={}, opt_state={}, key=None, aux=aux)


def table(*steps):
    return [{"step": step, "loss": 1.0} for step in steps]


@pytest.mark.parametrize(
    ("steps", "target"),
    [((2, 4, 6, 8), 4), ((2, 4), 4), ((5, 8), 5), ((6, 8), 6), ((), 0)],
)
def test_the_newest_checkpoint_from_before_the_judged_rows_or_the_oldest_or_the_start(tmp_path, steps, target):
    """Rows 5 and 7 were judged bad: the state after step 4 is the newest that neither speaks of; 5 is within row 5."""
    rows = [*table(1, 3, 5), {"step": 6, "heldout_psnr": 20.0}, *table(7)]
    assert Rollbacks(tmp_path, RULE).target(rows, steps) == target


def test_the_rate_falls_each_time_and_then_it_is_over(tmp_path):
    rollbacks = Rollbacks(tmp_path, RULE)
    assert (rollbacks.count, rollbacks.rate) == (0, 1.0)
    said = rollbacks.note("the loss is nan at step 9.", 9, 4)
    assert said == "The loss is nan at step 9: back to step 4, 1 of 2 times, and on at 0.5 times the rate."
    rollbacks.note("the loss is inf at step 7", 7, 4)
    assert (rollbacks.count, rollbacks.rate) == (2, 0.25)
    with pytest.raises(
        Diverged, match=r"has diverged: again\. Went back from step 9 to step 4, rate x 0\.5\."
    ) as caught:
        rollbacks.note("again", 8, 4)
    assert "from step 7 to step 4, rate x 0.25. Lower the learning rate" in str(caught.value)


def test_a_killed_run_remembers_what_its_checkpoint_does_not(tmp_path):
    Rollbacks(tmp_path, RULE).note("bad", 9, 4)
    with open(tmp_path / "rollbacks.jsonl", "a") as file:
        file.write('{"number": 2, "rea')  # the second was not decided yet
    again = Rollbacks(tmp_path, RULE)
    assert (again.count, again.rate) == (1, 0.5)
    state = again.remembered(fresh())
    assert (float(state.aux["rate"]), int(state.aux["rollbacks"])) == (0.5, 1)
    np.testing.assert_array_equal(state.aux["mine"], 1)
    assert again.remembered(state) is state
    assert again.remembered(known := fresh(0.5, 1)) is known


def test_without_a_rule_nothing_is_found_and_nothing_allowed(tmp_path):
    none = Rollbacks(tmp_path, None)
    assert none.reason([{"step": 1, "loss": float("nan")}]) == ""
    with pytest.raises(Diverged, match="bad"):
        none.note("bad", 3, 0)


def test_only_the_writer_writes(tmp_path):
    other = Rollbacks(tmp_path, RULE, writes=False)
    other.note("bad", 9, 4)
    assert other.count == 1
    assert not (tmp_path / "rollbacks.jsonl").exists()
    Rollbacks(tmp_path, RULE).note("bad", 9, 4)
    assert json.loads((tmp_path / "rollbacks.jsonl").read_text())["to"] == 4
