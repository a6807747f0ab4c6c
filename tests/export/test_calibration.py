"""Photographs as inputs: the middle of each, in the type that the graph takes, and enough of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.calibration import ENOUGH, CalibrationError, calibration, crop, inputs, photographs
from restore_jax.export.graph import Graph
from restore_jax.photo.write import write

SPEC = jax.ShapeDtypeStruct((1, 4, 6, 3), jnp.float32)
GRAPH = Graph(lambda y, noise: y + noise, {"y": SPEC, "noise": SPEC})


def test_the_middle_and_its_mirror_image():
    photograph = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    np.testing.assert_array_equal(crop(photograph, 4, 6)[0], photograph[3:7, 3:9])
    wide = crop(photograph, 4, 14)[0]
    np.testing.assert_array_equal(wide[:, 12:], photograph[3:7, :-3:-1])
    np.testing.assert_array_equal(crop(photograph, 4, 6, channels=1)[0, ..., 0], photograph[3:7, 3:9, 1])


def test_inputs_have_the_types_of_the_graph():
    picture = np.full((1, 4, 6, 3), 51, np.uint8)
    arrays = inputs(GRAPH, picture, seed=1)
    np.testing.assert_allclose(arrays["y"], 0.2, rtol=1e-6)
    assert arrays["noise"].dtype == np.float32
    assert not np.array_equal(arrays["noise"], inputs(GRAPH, picture, seed=2)["noise"])
    assert inputs(GRAPH.as_uint8(), picture)["y"] is picture


def test_a_folder_of_enough_photographs(tmp_path):
    for number in range(ENOUGH):
        write(tmp_path / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    shown = list(calibration(GRAPH, photographs(tmp_path)))
    assert [round(255 * float(one["y"].max())) for one in shown] == list(range(ENOUGH))


def test_too_few_photographs(tmp_path):
    write(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(CalibrationError, match=f"has 1 photographs, and {ENOUGH} or more"):
        photographs(tmp_path)
    assert len(photographs()) >= ENOUGH
