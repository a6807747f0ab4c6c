"""What a graph promises: names, shapes, no hidden randomness, and the value of the restorer it came from."""

import subprocess
import sys
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, normal
from restore_jax.export.graph import ExportError, Graph, explained, restorer_graph, whole

IMAGE = jax.ShapeDtypeStruct((1, 6, 4, 3), jnp.float32)


@dataclass(frozen=True)
class Noisy:
    """Twice the size, plus the noise images it is given; the key where it is given none, or always."""

    draws: int
    careless: bool = False
    scale: int = 2

    def __call__(self, key, obs):
        _, unused = jax.random.split(key)
        del unused
        x = jnp.repeat(jnp.repeat(obs.y, 2, axis=1), 2, axis=2)
        shape = (*x.shape[:-1], x.shape[-1] * self.draws)
        noise = obs.cond.get("noise")
        if noise is None or self.careless:
            noise = normal(key, shape)
        return x + sum(jnp.split(noise, self.draws, axis=-1)) if self.draws else x


@pytest.mark.parametrize("draws", [0, 1, 2])
def test_a_graph_has_the_value_of_its_restorer(draws, key):
    graph = restorer_graph(Noisy(draws), 6, 4)
    assert list(graph.inputs) == ["y", "noise"][: 1 + (draws > 0)]
    arrays = {name: jax.random.uniform(key, spec.shape) for name, spec in graph.inputs.items()}
    obs = Observation(y=arrays["y"])
    if draws:
        assert arrays["noise"].shape == (1, 12, 8, 3 * draws)
        obs = obs.with_cond(noise=arrays["noise"])
    np.testing.assert_array_equal(graph(**arrays), Noisy(draws)(key, obs))


def test_a_restorer_that_uses_its_key_does_not_leave():
    with pytest.raises(ExportError, match="draws = 1 and still draws"):
        restorer_graph(Noisy(1, careless=True), 6, 4)


def test_grey_photographs():
    assert restorer_graph(Noisy(2), 6, 4, channels=1).inputs["noise"].shape == (1, 12, 8, 2)


@pytest.mark.parametrize(("inputs", "output"), [(["x t"], "x"), (["größe"], "x"), (["1"], "x"), (["x"], "x")])
def test_names_that_a_format_would_change_are_refused(inputs, output):
    with pytest.raises(ValueError, match="name"):
        Graph(lambda *arrays: arrays[0], dict.fromkeys(inputs, IMAGE), output)


def test_other_names_and_shapes_are_refused():
    graph = Graph(lambda y: y, {"y": IMAGE})
    for arrays in [{}, {"x": jnp.ones(IMAGE.shape)}, {"y": jnp.ones((1, 4, 6, 3))}]:
        with pytest.raises(ValueError, match="The graph takes"):
            graph(**arrays)


def test_an_error_without_a_known_cause_keeps_the_converters_words():
    error = explained(Graph(lambda y: y, {"y": IMAGE}), "Paper", RuntimeError("too thin\nand torn"), "A hint.")
    assert str(error) == "Paper cannot hold this graph.\nA hint.\nThe converter: too thin"


def test_an_error_names_what_is_inside_branches():
    inside = lambda x: jnp.linalg.cholesky(x[0, :3, :3, 0])
    graph = Graph(lambda y: jax.lax.cond(y.sum() > 0, inside, lambda x: x[0, :3, :3, 0], y), {"y": IMAGE})
    assert "`cholesky` at" in str(explained(graph, "Paper", RuntimeError()))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a"
    with whole(path) as fresh:
        fresh.write_text("old")

    def interrupted():
        with whole(path) as fresh:
            fresh.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_importing_export_loads_nothing_heavy():
    heavy = {
        "tensorflow",
        "torch",
        "coremltools",
        "stablehlo_coreml",
        "litert_converter",
        "ai_edge_litert",
        "litert_quantizer",
        "onnx",
    }
    program = f"""
import sys
from restore_jax.export import coreml, graph, locate, mil, onnx, parity, quantize, stablehlo, tflite
print(sorted({heavy} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_8_bits_are_rounded_and_clipped(key):
    graph = Graph(lambda y, noise: 3 * y - 1 + noise, {"y": IMAGE, "noise": IMAGE}).as_uint8()
    assert graph.inputs["y"].dtype == jnp.uint8
    assert graph.inputs["noise"].dtype == jnp.float32
    y = jax.random.randint(key, IMAGE.shape, 0, 256).astype(jnp.uint8)
    noise = 0.01 * jax.random.normal(key, IMAGE.shape)
    expected = np.round(255 * np.clip(3 * (np.asarray(y, np.float64) / 255) - 1 + noise, 0, 1))
    x_hat = graph(y=y, noise=noise)
    assert x_hat.dtype == jnp.uint8
    assert np.max(np.abs(np.asarray(x_hat, float) - expected)) <= 1  # float32 may round a half the other way
    assert np.mean(np.asarray(x_hat) != expected) < 0.05


def test_a_key_that_nothing_reads_does_not_leave():
    def function(y):
        jax.random.split(jax.random.key(0))
        return 2 * y + jnp.arange(3.0).reshape(1, 1, 1, 3)

    names = [equation.primitive.name for equation in Graph(function, {"y": IMAGE}).jaxpr().eqns]
    assert not [name for name in names if name.startswith("random")]
    assert {"mul", "add"} <= set(names)


def test_an_error_says_in_which_module():
    def function(y):
        with jax.named_scope("Net"), jax.named_scope("attention"):
            return jax.lax.cond(y.sum() > 0, lambda x: x, jnp.sin, y)

    error = explained(Graph(function, {"y": IMAGE}), "Paper", RuntimeError())
    assert "in Net/attention: choose the branch" in str(error)
