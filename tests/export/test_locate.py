"""Planted errors: a file of a subtly different function, under the same name, is reported and the place is named."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.activations import activations
from restore_jax.export.calibration import crop, inputs
from restore_jax.export.graph import Graph
from restore_jax.export.locate import divergence
from restore_jax.export.parity import agreement

IMAGE = jax.ShapeDtypeStruct((1, 12, 16, 3), jnp.float32)


class Net(nn.Module):
    """Every field is right as it stands, and a mistake that somebody made in another value."""

    padding: str = "constant"
    approximate: bool = True
    order: tuple[int, ...] = (0, 1, 2)
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x):
        edged = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=self.padding)
        h = nn.Conv(8, (3, 3), padding="VALID", name="head")(edged)
        h = nn.LayerNorm(epsilon=self.epsilon, use_fast_variance=False, name="norm")(h)
        with jax.named_scope("gate"):
            h = nn.gelu(h, approximate=self.approximate)
        h = nn.Conv(3, (3, 3), name="tail")(h)
        with jax.named_scope("colours"):
            h = jnp.stack([h[..., channel] for channel in self.order], axis=-1)
        return x + h


# Where the graph's own operation is that the file has otherwise; a padding is part of the convolution behind it.
PLANTED = {
    "padding": (Net(padding="edge"), ("head", "Net")),
    "GELU": (Net(approximate=False), ("gate",)),
    "channel order": (Net(order=(2, 1, 0)), ("colours", "Net")),
    "epsilon": (Net(epsilon=1e-3), ("norm",)),
}


@dataclass
class World:
    params: dict
    graph: Graph
    picture: dict


@pytest.fixture(scope="module")
def world():
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(Net().init, jax.random.key(0), IMAGE)
    params = jax.tree.map(lambda p: jnp.float32(0.4 * rng.standard_normal(p.shape)), shapes)
    graph = Graph(lambda y: Net().apply(params, y), {"y": IMAGE})
    return World(params, graph, inputs(graph, crop(load_sample_image("china.jpg"), 12, 16)))


def wrong(world, net):
    return Graph(lambda y: net.apply(world.params, y), {"y": IMAGE})


def place(found):
    """The last name of the module path."""
    return found.origin.module.rpartition("/")[2]


@pytest.mark.parametrize("name", PLANTED)
def test_among_the_arrays_of_the_function_itself(world, name):
    net, places = PLANTED[name]
    found = divergence(
        world.graph, [step.value for step in activations(wrong(world, net), world.picture)], world.picture
    )
    assert found is not None
    assert place(found) in places, str(found)
    assert "test_locate.py" in found.origin.where or "flax" in found.origin.where
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
    assert agreement(world.graph, TFLiteModel(path), {"photograph": world.picture}).max_diff > 1e-5  # the bound
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
    different = agreement(world.graph, model, {"photograph": world.picture}).max_diff > 1e-5
    found = divergence(world.graph, model.values(**world.picture), world.picture)
    assert different == (found is not None) == (name in PLANTED)
    assert found is None or place(found) in places, str(found)
