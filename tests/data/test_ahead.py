"""Batches made in advance: the same ones, in the same order, and a state that never runs ahead."""

import gc
import json
import threading
import time

import grain
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from restore_jax.data.ahead import Ahead
from restore_jax.data.pipeline import Pipeline
from tests.data.test_pipeline import SOURCE

PIPELINE = Pipeline(SOURCE, batch_size=4, crop_px=24, seed=3)


class Counter:
    """0, 1, 2, ... with the state of an iterator; `fails` is a number that it cannot make."""

    def __init__(self, fails: int | None = None, ends: int | None = None):
        self.next, self.fails, self.ends, self.closed = 0, fails, ends, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.next == self.ends:
            raise StopIteration
        if self.next == self.fails:
            raise ValueError(f"number {self.next} is damaged")
        self.next += 1
        return np.asarray([self.next - 1])

    def get_state(self):
        return {"next": self.next}

    def set_state(self, state):
        self.next = state["next"]

    def close(self):
        self.closed = True


@pytest.mark.parametrize("depth", [1, 3])
def test_the_batches_of_the_pipeline_on_the_device(depth):
    with Ahead(PIPELINE.iterator(2), jnp.asarray, depth) as batches:
        for step in range(2, 8):
            batch = next(batches)
            assert isinstance(batch, jax.Array)
            np.testing.assert_array_equal(batch, PIPELINE[step])


def test_a_group_is_a_leading_axis():
    with Ahead(PIPELINE.iterator(), jnp.asarray, group=3) as batches:
        for first in (0, 3):
            np.testing.assert_array_equal(next(batches), [PIPELINE[step] for step in range(first, first + 3)])
        assert batches.get_state()["next_index"] == 6


@pytest.mark.parametrize(("depth", "group"), [(1, 1), (3, 1), (2, 4)])
def test_the_state_is_that_of_the_consumed(depth, group):
    with Ahead(Counter(), lambda batch: batch, depth, group) as batches:
        assert batches.get_state() == {"next": 0}
        for taken in range(1, 4):
            next(batches)
            time.sleep(0.01)  # time enough to run ahead
            assert batches.get_state() == {"next": taken * group}


def test_no_more_than_depth_is_made_in_advance():
    source = Counter()
    with Ahead(source, lambda batch: batch, depth=3) as batches:
        next(batches)
        deadline = time.monotonic() + 5
        while source.next < 4 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert source.next == 4  # one consumed, three waiting


def test_a_saved_state_goes_on_with_the_next_batch():
    with Ahead(PIPELINE.iterator(), jnp.asarray, depth=3) as batches:
        for _ in range(5):
            next(batches)
        state = json.loads(json.dumps(batches.get_state()))
        expected = [np.asarray(next(batches)) for _ in range(3)]
        batches.set_state(state)  # the same one, which has run on
        np.testing.assert_array_equal([next(batches) for _ in range(3)], expected)
    with Ahead(PIPELINE.iterator(), jnp.asarray, depth=1) as other:
        next(other)
        other.set_state(state)
        np.testing.assert_array_equal([next(other) for _ in range(3)], expected)
    iterator = PIPELINE.iterator()  # and without a thread
    iterator.set_state(state)
    np.testing.assert_array_equal([next(iterator) for _ in range(3)], expected)
    iterator.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:orbax")
def test_goes_through_an_orbax_checkpoint(tmp_path):
    with Ahead(PIPELINE.iterator(), jnp.asarray) as batches, ocp.CheckpointManager(tmp_path) as manager:
        for _ in range(3):
            next(batches)
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(batches)))
        manager.wait_until_finished()
        with Ahead(PIPELINE.iterator(), jnp.asarray) as resumed:
            manager.restore(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(resumed)))
            np.testing.assert_array_equal(next(resumed), PIPELINE[3])


def test_an_error_comes_after_the_batches_before_it():
    with Ahead(Counter(fails=2), lambda batch: batch, depth=4) as batches:
        assert [int(next(batches)[0]) for _ in range(2)] == [0, 1]
        for _ in range(2):
            with pytest.raises(ValueError, match="number 2 is damaged"):
                next(batches)
        batches.set_state({"next": 3})
        assert int(next(batches)[0]) == 3


def test_an_error_of_shard_is_raised_at_the_reader():
    def shard(batch):
        raise RuntimeError("no such device")

    with Ahead(Counter(), shard) as batches, pytest.raises(RuntimeError, match="no such device"):
        next(batches)


def test_the_end_of_the_source():
    with Ahead(Counter(ends=7), lambda batch: batch, group=3) as batches:
        assert [batch[:, 0].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(StopIteration):
            next(batches)


def threads() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


def test_close_ends_the_thread_and_the_source():
    before, source = threads(), Counter()
    batches = Ahead(source, lambda batch: batch)
    assert threads() == before  # nothing is made before it is wanted
    next(batches)
    assert threads() == before + 1
    batches.close()
    batches.close()
    assert threads() == before
    assert source.closed
    with pytest.raises(ValueError, match="closed"):
        next(batches)


def test_one_that_is_forgotten_ends_its_thread():
    before = threads()
    batches = Ahead(Counter(), lambda batch: batch)
    next(batches)
    del batches
    gc.collect()
    assert threads() == before


@pytest.mark.parametrize("field", ["depth", "group"])
def test_numbers_that_do_not_fit(field):
    with pytest.raises(ValueError, match=rf"Ahead\.{field} is at least 1, not 0"):
        Ahead(Counter(), jnp.asarray, **{field: 0})
