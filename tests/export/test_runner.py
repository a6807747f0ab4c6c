"""A file as a restorer gives the picture that JAX gives: whole, in tiles, with its noise, inside other restorers."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, normal
from restore_jax.export import runner
from restore_jax.export.exporter import Recipe, described, export
from restore_jax.export.graph import ExportError, Graph
from restore_jax.export.runner import exported, loaded, run
from restore_jax.export.tflite import to_tflite
from restore_jax.infer.ensemble import Ensemble
from restore_jax.infer.tile import Tile
from restore_jax.methods.model import Model, write_model
from tests.infer.test_tile import restorer

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def extra():
    for package in ["litert_converter", "ai_edge_litert"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')


def photograph(height, width):
    smooth = np.random.default_rng(0).random((height, width, 3), np.float32)
    return np.cumsum(smooth - 0.5, axis=1) / 8 + 0.5


@pytest.mark.parametrize(("scale", "sigmas"), [(1, (0.0,)), (2, (0.0,)), (1, (0.5, 0.1))])
def test_a_photograph_in_tiles_is_the_one_that_jax_restores(scale, sigmas):
    """Two odd sizes, one below a tile; two steps draw noise twice."""
    own = restorer(scale, sigmas)
    file = exported(own, 40)
    for height, width in ((101, 143), (33, 60)):
        y = photograph(height, width)
        ours = Tile(own, file.tile_px)(KEY, Observation(y=y))
        theirs = Tile(file, file.tile_px)(KEY, Observation(y=y))
        assert theirs.shape == (height * scale, width * scale, 3)
        assert np.abs(ours - theirs).max() < 1e-5


def test_tiles_that_fit_the_photograph(monkeypatch):
    """Without a size of tiles, one file for a photograph, of no more pixels than are allowed; written once."""
    monkeypatch.setattr(runner, "AREA_PX", 60 * 60)
    written = []
    monkeypatch.setattr(runner, "export", lambda own, recipe, path: written.append(recipe) or export(own, recipe, path))
    own = restorer(1, (0.0,))
    file, y = exported(own), photograph(101, 143)
    assert (file.tile_px, file.batch, file.area_px) == (None, 1, 3600)
    theirs = Tile(file, file.tile_px, batch=file.batch, area_px=file.area_px)(KEY, Observation(y=y))
    assert np.abs(Tile(own)(KEY, Observation(y=y)) - theirs).max() < 1e-5
    ((height, width),) = written[0].sizes
    assert len(written) == 1
    assert height * width <= 3600


@pytest.mark.soak
def test_a_photograph_of_12_megapixels():
    done = subprocess.run([sys.executable, "-m", "benchmarks.export_photo"], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["max_diff"] <= 1 / 255 + 1e-6  # where a rounding falls to the other side
    assert figures["differing"] < 1e-3
    assert figures["tflite_peak_mb"] < 900


def test_a_picture_of_any_size_in_a_batch_and_under_jit():
    own = restorer(1, (0.0,))
    file, y = exported(own, 40), jnp.stack([jnp.asarray(photograph(21, 30)), jnp.asarray(photograph(21, 30)[::-1])])
    answer = own(KEY, Observation(y=y))
    for call in (file, jax.jit(lambda key, obs: file(key, obs))):
        np.testing.assert_allclose(call(KEY, Observation(y=y)), answer, atol=1e-5)
    mapped = jax.vmap(lambda one: file(KEY, Observation(y=one)))(y)
    np.testing.assert_allclose(mapped, answer, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda y: file(KEY, Observation(y=y)))(y[0]), answer[0], atol=1e-5)
    np.testing.assert_allclose(Ensemble(file)(KEY, Observation(y=y)), Ensemble(own)(KEY, Observation(y=y)), atol=1e-5)


def test_noise_that_is_given_and_noise_that_is_drawn():
    own = restorer(1, (0.5,))
    file, y = exported(own, 40), jnp.asarray(photograph(16, 24))[None]
    assert file.draws == own.draws == 1
    noise = normal(KEY, y.shape)
    obs = Observation(y=y).with_cond(noise=noise)
    np.testing.assert_allclose(file(KEY, obs), own(KEY, obs), atol=1e-5)
    one, two = (file(jax.random.key(seed), Observation(y=y)) for seed in (0, 1))
    assert np.abs(one - two).max() > 1e-3
    np.testing.assert_array_equal(one, file(KEY, Observation(y=y)))


def test_a_file_knows_what_it_needs_and_takes_its_smallest_size(tmp_path):
    own = restorer(1, (0.0,))
    path = tmp_path / "net.tflite"
    export(own, Recipe(sizes=((32, 32), (48, 64), (64, 64))), path)
    file = run(path)
    assert (file.tile_px, file.scale, file.draws, file.local) == (64, 1, 0, True)
    assert (file.factor, file.halo_px) == (own.factor, own.halo_px)
    sizes = {(20, 20): (32, 32), (33, 20): (48, 64), (48, 64): (48, 64), (50, 50): (64, 64)}
    for given, taken in sizes.items():
        assert file.fitting(*given).inputs["y"][1:3] == taken
    with pytest.raises(ValueError, match="not 65 x 64: take tiles"):
        file(KEY, Observation(y=jnp.zeros((65, 64, 3))))
    y = photograph(90, 101)  # no smaller than a tile either way, so that no edge lies inside one
    assert np.abs(Tile(own, 64)(KEY, Observation(y=y)) - Tile(file, 64)(KEY, Observation(y=y))).max() < 1e-5


def test_a_model_by_its_path_in_either_runtime(tmp_path):
    from restore_jax.build import spec_of

    own = restorer(1, (0.0,))
    write_model(tmp_path / "model", Model(spec_of(own.method), own.params))
    y, path = photograph(40, 40)[None], tmp_path / "net.tflite"
    export(own, Recipe(sizes=((64, 64),)), path, described(tmp_path / "model"))
    answers = [
        np.asarray(loaded(*one)(KEY, Observation(y=y)))
        for one in ((tmp_path / "model",), (tmp_path / "model", "tflite"), (tmp_path / "model", "tflite", 48))
    ]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-5)
    assert loaded(tmp_path / "model", "tflite", 48).tile_px == 48
    assert loaded(path).tile_px == 64
    with pytest.raises(ValueError, match="takes tiles of 64 pixels, not 32"):
        loaded(path, tile_px=32)
    with pytest.raises(ValueError, match="must be jax or tflite, not 'onnx'"):
        loaded(path, "onnx")


def test_files_that_cannot_be_run(tmp_path):
    own = restorer(1, (0.0,))
    foreign = Graph(lambda y: 1 - y, {"y": jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)})
    with pytest.raises(ExportError, match="does not say its scale, draws"):
        run(to_tflite(foreign, tmp_path / "foreign.tflite"))
    for name, recipe in (("eight", Recipe(sizes=((8, 8),), uint8=True)), ("oblong", Recipe(sizes=((8, 16),)))):
        export(own, recipe, tmp_path / f"{name}.tflite")
        with pytest.raises(ExportError, match="export a square --size, without --uint8"):
            run(tmp_path / f"{name}.tflite")
