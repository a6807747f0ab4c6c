"""Parity measures what was planted."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.graph import Graph
from restore_jax.export.parity import parity

IMAGE = jax.ShapeDtypeStruct((1, 8, 4, 3), jnp.float32)
GRAPH = Graph(lambda y, noise: y + 2 * noise, {"y": IMAGE, "noise": IMAGE})


@pytest.fixture
def inputs(key):
    return dict(zip(GRAPH.inputs, jax.random.uniform(key, (2, *IMAGE.shape))))


def test_the_graph_itself_is_infinitely_close(inputs):
    result = parity(GRAPH, jax.jit(GRAPH.__call__), inputs)
    assert result.max_abs_diff == 0
    assert result.psnr_db == float("inf")


def test_a_planted_difference_is_measured(inputs):
    def off(y, noise):
        x = np.array(GRAPH(y=y, noise=noise))
        x[0, 3, 2, 1] += 0.5
        return x

    result = parity(GRAPH, off, inputs)
    assert result.max_abs_diff == pytest.approx(0.5, abs=1e-6)
    assert result.psnr_db == pytest.approx(10 * np.log10(IMAGE.size / 0.25), abs=1e-4)


def test_inputs_go_by_name_and_not_by_order(inputs):
    model = lambda noise, y: y + 2 * noise
    assert parity(GRAPH, model, dict(reversed(inputs.items()))).max_abs_diff < 1e-6


def test_the_least_time_is_reported_in_milliseconds(inputs):
    naps = iter([0.2, 0.4, 0.02, 0.4])  # the first is not counted

    def slow(**arrays):
        time.sleep(next(naps))
        return GRAPH(**arrays)

    result = parity(GRAPH, slow, inputs, runs=3)
    assert 20 <= result.ms_model < 390
    assert result.ms_jax > 0


def test_other_shapes_are_refused(inputs):
    with pytest.raises(ValueError, match="The graph takes"):
        parity(GRAPH, GRAPH, {"y": inputs["y"]})
    with pytest.raises(ValueError, match="The model returns"):
        parity(GRAPH, lambda y, noise: y[:, ::2], inputs)
