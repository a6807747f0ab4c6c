"""What is recorded of a graph: the values it computes, in order, and where each comes from."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.export.activations import activations, overflows, ranges
from restore_jax.export.graph import Graph

IMAGE = jax.ShapeDtypeStruct((1, 4, 6, 3), jnp.float32)


class Loud(nn.Module):
    """A product of which float16 knows only infinity."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("gain", nn.initializers.constant(1e6), (1, 1, 1, 1))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.tanh(Loud(name="loud")(x) / 1e6)


PARAMS = Net().init(jax.random.key(0), jnp.ones(IMAGE.shape))
GRAPH = Graph(lambda y: Net().apply(PARAMS, y), {"y": IMAGE})


@pytest.fixture
def picture(key):
    return {"y": np.asarray(jax.random.uniform(key, IMAGE.shape))}


def test_the_last_value_is_the_graphs_and_the_others_are_on_the_way(picture):
    steps = activations(GRAPH, picture)
    np.testing.assert_array_equal(steps[-1].value, np.asarray(jax.jit(GRAPH.function)(picture["y"])))
    assert [step.origin.primitive for step in steps][-1] == "tanh"
    loud = next(step for step in steps if step.origin.module == "Net/loud" and step.value.max() > 1)
    np.testing.assert_allclose(loud.value, 1e6 * picture["y"], rtol=1e-6)
    assert "test_activations.py" in loud.origin.where
    assert loud.origin.depends


def test_inside_calls_and_nothing_that_is_not_used(picture):
    def function(y):
        key, _ = jax.random.split(jax.random.key(0))
        del key
        return jax.jit(lambda x: jax.nn.relu(x - 0.5))(y)

    steps = activations(Graph(function, {"y": IMAGE}), picture)
    assert [step.origin.primitive for step in steps] == ["sub", "max"]
    assert steps[1].origin.parents == (0,)


def test_what_overflows_is_named(picture):
    found = ranges(GRAPH, [{"y": 0.01 * picture["y"]}, picture])  # the first alone stays below
    (loud,) = overflows(found)
    assert loud.origin.module == "Net/loud"
    assert loud.max_abs == pytest.approx(1e6 * picture["y"].max(), rel=1e-6)
    assert overflows(found, limit=2e6) == []


def test_what_is_not_a_number_overflows():
    graph = Graph(lambda y: jnp.log(-y), {"y": IMAGE})
    found = ranges(graph, [{"y": np.ones(IMAGE.shape, np.float32)}])
    assert [one.origin.primitive for one in overflows(found)] == ["log"]


def test_other_pictures_are_refused(picture):
    with pytest.raises(ValueError, match="at least one picture"):
        ranges(GRAPH, [])
    with pytest.raises(ValueError, match="The graph takes"):
        activations(GRAPH, {"y": picture["y"][:, :2]})
