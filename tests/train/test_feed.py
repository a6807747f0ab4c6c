"""Dispatches of any size take the stream in order, and a checkpoint between any two goes on with the next batch."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.data.pipeline import Pipeline
from restore_jax.train.feed import Feed
from restore_jax.train.window import Window
from tests.train.test_window import Spikes, metrics


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline(build({"name": "data.sets.embedded.Embedded", "split": "heldout"}), 2, 8, workers=1)


def feed(pipeline):
    return Feed(pipeline.iterator, jnp.asarray, 2, Window(Spikes()))


def test_dispatches_of_any_size_are_the_batches_in_order(pipeline):
    taken = []
    with feed(pipeline) as batches:
        for size in (1, 3, 3, 2, 1):
            batch = np.asarray(batches.take(size))
            taken += list(batch) if size > 1 else [batch]
    np.testing.assert_array_equal(taken, [pipeline[step] for step in range(10)])


def test_it_goes_on_with_the_next_batch_and_the_half_said_row(pipeline):
    with feed(pipeline) as batches, feed(pipeline) as other:
        batches.take(3)
        batches.window.add(1, metrics([1.0, 2.0, 4.0]))
        other.set_state(json.loads(json.dumps(batches.get_state())))
        np.testing.assert_array_equal(other.take(1), pipeline[3])
        other.window.add(4, metrics(5.0))
        assert other.window.row() == {"loss": 3.0}


def test_it_goes_back(pipeline):
    with feed(pipeline) as batches:
        batches.take(2)
        np.testing.assert_array_equal(next(batches), [pipeline[2], pipeline[3]])
        batches.rewind()
        np.testing.assert_array_equal(batches.take(1), pipeline[0])
