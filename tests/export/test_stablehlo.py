"""A StableHLO file gives back the same function, without the code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from restore_jax.export.graph import ExportError, Graph
from restore_jax.export.stablehlo import load_stablehlo, to_stablehlo

IMAGE = jax.ShapeDtypeStruct((1, 6, 4, 3), jnp.float32)


def test_the_round_trip_is_exact(key, tmp_path):
    weights = jax.random.normal(key, (3, 3))
    graph = Graph(lambda y, noise: jnp.tanh(y @ weights[None, None]) + noise, {"y": IMAGE, "noise": IMAGE})
    path = to_stablehlo(graph, tmp_path / "a.stablehlo")
    y, noise = jax.random.uniform(key, (2, *IMAGE.shape))
    again = load_stablehlo(path)
    np.testing.assert_array_equal(jax.jit(again)(y, noise), jax.jit(graph.function)(y, noise))
    assert jax_export.deserialize(bytearray(path.read_bytes())).platforms == ("cpu", "cuda", "tpu")
    assert [file.name for file in tmp_path.iterdir()] == ["a.stablehlo"]


def test_the_file_weighs_its_weights(tmp_path):
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((24, 100_000)), jnp.float32)
    graph = Graph(lambda y: y.reshape(3, 24) @ weights, {"y": IMAGE})
    assert to_stablehlo(graph, tmp_path / "a").stat().st_size < weights.nbytes + 10_000


def test_another_platform_is_refused_when_called(tmp_path):
    path = to_stablehlo(Graph(lambda y: y, {"y": IMAGE}), tmp_path / "a", platforms=("tpu",))
    with pytest.raises(ValueError, match="platform"):
        load_stablehlo(path)(jnp.ones(IMAGE.shape))


def test_a_callback_stays_at_home(tmp_path):
    graph = Graph(lambda y: jax.pure_callback(lambda x: x, IMAGE, y), {"y": IMAGE})
    with pytest.raises(ExportError, match=r"`pure_callback` at .*test_stablehlo.*remove it"):
        to_stablehlo(graph, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
