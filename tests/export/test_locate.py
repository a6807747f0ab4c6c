"""Planted errors: a file of a subtly different function, under the same name, is reported and the place is named."""

import numpy as np
import pytest

from restore_jax.export.activations import activations
from restore_jax.export.locate import divergence
from restore_jax.export.parity import agreement
from tests.export.planted import BOUND, PLANTED, Net, place, wrong
from tests.export.planted import world as made


@pytest.fixture(scope="module")
def world():
    return made()


@pytest.mark.parametrize("name", PLANTED)
def test_among_the_arrays_of_the_function_itself(world, name):
    net, places = PLANTED[name]
    found = divergence(
        world.graph, [step.value for step in activations(wrong(world, net), world.picture)], world.picture
    )
    assert found is not None
    assert place(found) in places, str(found)
    assert "planted.py" in found.origin.where or "flax" in found.origin.where
    assert found.found < found.compared


def test_the_same_function_differs_nowhere(world):
    values = [step.value for step in activations(world.graph, world.picture)]
    moved = [np.moveaxis(v, -1, 1) if v.ndim == 4 else v for v in values]  # as Core ML has them
    fused = moved[-1:]  # as if one operation did it all
    for some in (values, moved, fused):
        assert divergence(world.graph, some, world.picture) is None
    assert divergence(world.graph, [np.asarray(v + 1e-3) for v in values], world.picture) is not None


@pytest.mark.parametrize("name", PLANTED)
def test_in_a_tflite_file(world, name, tmp_path):
    pytest.importorskip("litert_converter", reason='needs pip install "restore-jax[export]"')
    from restore_jax.export.tflite import TFLiteModel, to_tflite

    net, places = PLANTED[name]
    path = to_tflite(wrong(world, net), tmp_path / "net.tflite")
    assert agreement(world.graph, TFLiteModel(path), {"photograph": world.picture}).max_diff > BOUND
    found = divergence(world.graph, TFLiteModel(path, keep=True).values(**world.picture), world.picture)
    assert found is not None
    assert place(found) in places, str(found)


def test_a_right_tflite_file_differs_nowhere(world, tmp_path):
    pytest.importorskip("litert_converter", reason='needs pip install "restore-jax[export]"')
    from restore_jax.export.tflite import TFLiteModel, to_tflite

    model = TFLiteModel(to_tflite(world.graph, tmp_path / "net.tflite"), keep=True)
    assert divergence(world.graph, model.values(**world.picture), world.picture) is None


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
@pytest.mark.parametrize("name", [*PLANTED, "none"])
def test_in_a_core_ml_package(world, name, tmp_path):
    pytest.importorskip("stablehlo_coreml", reason='needs pip install "restore-jax[export]"')
    from restore_jax.export.coreml import to_coreml
    from restore_jax.export.mil import CoreMLModel

    net, places = PLANTED.get(name, (Net(), ()))
    model = CoreMLModel(to_coreml(wrong(world, net), tmp_path / "net.mlpackage"))
    different = agreement(world.graph, model, {"photograph": world.picture}).max_diff > BOUND
    found = divergence(world.graph, model.values(**world.picture), world.picture)
    assert different == (found is not None) == (name in PLANTED)
    assert found is None or place(found) in places, str(found)
