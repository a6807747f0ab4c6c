"""Parity measures what was planted."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.graph import Graph
from restore_jax.export.parity import EXTREMES, agreement, cases, exact, parity

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


def test_agreement_is_the_worst_of_all_and_the_psnr_of_photographs():
    given = cases(GRAPH)
    assert set(given) > {*EXTREMES, "chelsea"}

    def off(y, noise):
        x = np.array(GRAPH(y=y, noise=noise))
        white = y.min() == 1
        return x + (0.5 if white else 0.1 * (y.max() < 1 and y.max() > 0))

    found = agreement(GRAPH, off, given)
    assert found.worst == "white"
    assert found.max_diff == pytest.approx(0.5, abs=1e-6)
    assert found.max_diffs["black"] == 0
    photographs = [name for name in given if name not in EXTREMES and given[name]["y"].max() < 1]
    expected = 10 * np.log10((len(given) - 3) / (len(photographs) * 0.01))
    assert found.psnr_db == pytest.approx(expected, abs=1e-3)


def test_cases_reach_the_corners_of_colour():
    given = cases(Graph(lambda y: y, {"y": jax.ShapeDtypeStruct((1, 8, 24, 3), jnp.float32)}))
    corners = {tuple(pixel) for pixel in given["saturated"]["y"].reshape(-1, 3).tolist()}
    assert len(corners) == 8
    assert all(set(corner) <= {0.0, 1.0} for corner in corners)


def test_what_is_not_a_number_is_infinitely_far():
    found = agreement(GRAPH, lambda y, noise: np.full(y.shape, np.nan, np.float32), cases(GRAPH))
    assert found.max_diff == np.inf
    assert found.psnr_db == -np.inf


def test_levels_of_8_bits_are_counted_in_white():
    graph = Graph(lambda y: y, {"y": IMAGE}).as_uint8()
    found = agreement(graph, lambda y: np.where(y < 255, y + 1, y), cases(graph))
    assert found.max_diff == pytest.approx(1 / 255)


def test_nothing_to_compare_on_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        agreement(GRAPH, GRAPH, {})


def test_the_answer_in_float64_tells_which_side_rounds():
    """A thousand and back loses 2^-15 in float32, whose numbers there are 2^-14 apart, and 2^-44 in float64."""
    graph = Graph(lambda y: (y + 1000) - 1000, {"y": IMAGE})
    picture = np.full(IMAGE.shape, 1 / 3, np.float32)
    truth = exact(graph, {"y": picture})
    assert truth.dtype == np.float64
    assert np.abs(truth - picture).max() < 2.0**-43
    assert 2.0**-18 < np.abs(np.asarray(graph(y=picture)) - picture).max() <= 2.0**-15
    with pytest.raises(ValueError, match="before `as_uint8`"):
        exact(graph.as_uint8(), {"y": picture})
    with pytest.raises(ValueError, match="answers float32"):
        exact(Graph(lambda y: y.astype(jnp.float32), {"y": IMAGE}), {"y": picture})
