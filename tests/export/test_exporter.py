"""One call from a restorer to a file: what it writes, what it says of itself, and what it refuses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.diffusion.flow_map import FlowMap
from restore_jax.diffusion.once import Once
from restore_jax.diffusion.sampler import Consistency
from restore_jax.export.exporter import Exported, Recipe, check_size, described, digest, export, sizes, stepped
from restore_jax.export.graph import Graph
from restore_jax.export.tflite import metadata, ops
from tests.train.tiny import DIFFUSION

NET = {"name": "nets.nafnet.NAFNet", "width": 4, "enc_blocks": (1,), "dec_blocks": (1,)}
PLAIN = {"precondition": {"name": "diffusion.precondition.Plain"}}
ONCE = {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"}


@pytest.fixture(scope="module")
def restorer():
    method = build({**DIFFUSION, **PLAIN, "net": NET, "sampler": ONCE})
    x, rng = jnp.zeros((1, 8, 8, 3)), np.random.default_rng(0)
    shapes = jax.eval_shape(method.init, jax.random.key(0), Observation(y=x), x)
    return method.restorer(jax.tree.map(lambda p: jnp.float32(0.2 * rng.standard_normal(p.shape)), shapes))


def test_sizes_in_words():
    assert sizes("256x256,512X384") == ((256, 256), (512, 384))
    for text in ("256", "256x", "1x2x3", ""):
        with pytest.raises(ValueError, match="size must read like 256x256"):
            sizes(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": "ncnn"}, "Recipe.to must be one of tflite, coreml, onnx, stablehlo, not 'ncnn'"),
        ({"precision": "palette8"}, "Recipe.precision for tflite must be one of fp32, fp16, .*, not 'palette8'"),
        ({"to": "onnx", "precision": "fp16"}, "for onnx must be one of fp32, not 'fp16'"),
        ({"sizes": ((8, 8), (8, 8))}, "Recipe.sizes must be different"),
        ({"sizes": ((0, 8),)}, "Recipe.sizes must be different heights and widths of 1 or more"),
        ({"to": "onnx", "sizes": ((8, 8), (16, 16))}, "one size for onnx"),
    ],
)
def test_recipes_that_do_not_exist(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


def test_a_size_that_the_network_would_pad(restorer, tmp_path):
    with pytest.raises(ValueError, match=r"multiple of 2, .* it is 9x8. The next are 8x8 and 10x8"):
        export(restorer, Recipe(sizes=((9, 8),)), tmp_path / "net.tflite")
    with pytest.raises(ValueError, match=r"The next are 2x2\.$"):
        check_size(restorer, 1, 1)
    assert list(tmp_path.iterdir()) == []


def test_another_suffix(restorer, tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.tflite for tflite"):
        export(restorer, Recipe(sizes=((8, 8),)), tmp_path / "net.onnx")


def test_levels_for_other_numbers_of_steps(restorer):
    given = lambda sampler: dataclasses.replace(restorer, sampler=sampler)
    two = given(Consistency((1.0, 0.1), "image"))
    assert stepped(two, 2) is two
    assert stepped(two, 1).sampler.sigmas == (1.0,)
    np.testing.assert_allclose(stepped(two, 3).sampler.sigmas, (1, 0.1**0.5, 0.1))
    np.testing.assert_allclose(stepped(given(FlowMap((80.0,))), 2).sampler.sigmas, (80, 8))
    assert stepped(restorer, 1) is restorer
    for other, steps in [(restorer, 2), (given(Once(0.1)), 4), (two, 0)]:
        with pytest.raises(ValueError, match=f"steps must be .* for this model, not {steps}"):
            stepped(other, steps)


def test_a_digest_sees_names_shapes_and_numbers():
    params = {"a": np.ones((2, 3), np.float32)}
    different = [params, {"b": params["a"]}, {"a": params["a"].T}, {"a": 1.001 * params["a"]}]
    assert len({digest(one) for one in different}) == 4
    assert digest(params) == digest({"a": jnp.ones((2, 3))})


def test_stablehlo_agrees_and_has_its_metadata_beside_it(restorer, tmp_path):
    path = tmp_path / "net.stablehlo"
    written = export(restorer, Recipe("stablehlo", ((8, 12),), uint8=True), path, {"license": "MIT"})
    (row,) = written.check()
    assert row["agrees"]
    assert row["size"] == "8x12"
    beside = json.loads((tmp_path / "net.json").read_text())
    assert beside["license"] == "MIT"
    assert beside["expected_range"] == "0 255"
    assert beside["params_sha256"] == digest(restorer.params)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.json", "net.stablehlo"]


def test_two_sizes_in_a_tflite_file(restorer, tmp_path):
    for package in ["litert_converter", "ai_edge_litert"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')
    path = tmp_path / "net.tflite"
    written = export(restorer, Recipe(sizes=((8, 12), (16, 16))), path, {"license": "MIT"})
    assert set(written.graphs) == {"size_8x12", "size_16x16"}
    for row in written.check():
        assert row["agrees"], row
    assert metadata(path)["license"] == "MIT"
    assert "1 x 8 x 12 x 3" in metadata(path)["y_description"]
    assert not [name for name in ops(path) if name.startswith(("CUSTOM", "FLEX", "STABLEHLO"))]
    with pytest.raises(ValueError, match="signature must be one of"):
        written.model("size_9x9")


def test_a_file_of_another_function_says_where_it_begins(restorer, tmp_path):
    pytest.importorskip("litert_converter", reason='needs pip install "restore-jax[export]"')
    written = export(restorer, Recipe(sizes=((8, 12),)), tmp_path / "net.tflite")
    ((name, graph),) = written.graphs.items()

    def louder(y):
        x = graph.function(y)
        with jax.named_scope("finish"):
            return 1.01 * x

    claimed = Graph(louder, graph.inputs)
    (row,) = Exported(written.path, written.recipe, {name: claimed}).check()
    assert row["agrees"] is False
    assert row["jax_to_float64"] < 1e-5 < row["file_to_float64"]
    assert "`mul` in finish" in row["begins"]


def test_a_run_says_where_it_comes_from(tmp_path, monkeypatch):
    config = {"method": DIFFUSION, "degrade": {"name": "degrade.noise.Gaussian"}, "train_set": "somewhere"}
    monkeypatch.setattr("restore_jax.export.exporter.read", lambda path: (config, {}, 0))
    texts = described(tmp_path)
    assert texts["name"] == "nets.unet.UNet"
    assert json.loads(texts["protocol"])["degrade"] == config["degrade"]
    assert set(texts) >= {"version", "license", "short_description"}
    assert all(isinstance(text, str) for text in texts.values())


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
@pytest.mark.parametrize("uint8", [False, True])
def test_core_ml_keeps_32_bits_where_photographs_overflow_in_16(uint8, tmp_path):
    """A kernel of 1e6 before one of 1e-6, as published nets have them: nothing is asked for, and nothing is lost."""
    pytest.importorskip("coremltools", reason='needs pip install "restore-jax[export]"')
    net = {"name": "nets.dncnn.DnCNN", "width": 4, "depth": 3}
    method = build({**DIFFUSION, **PLAIN, "net": net, "sampler": ONCE})
    x, rng = jnp.zeros((1, 8, 8, 3)), np.random.default_rng(0)
    shapes = jax.eval_shape(method.init, jax.random.key(0), Observation(y=x), x)
    params = jax.tree.map(lambda p: jnp.float32(0.1 * rng.standard_normal(p.shape)), shapes)
    for name, scale in (("conv0", 1e6), ("conv2", 1e-6)):
        params[name] = {**params[name], "kernel": scale * params[name]["kernel"]}
    recipe = Recipe("coreml", ((16, 16),), "fp16", uint8=uint8)
    written = export(method.restorer(params), recipe, tmp_path / "net.mlpackage")
    assert written.kept
    (row,) = written.check()
    if uint8:
        assert row["max_diff"] <= 2 / 255
    else:
        assert row["agrees"]
