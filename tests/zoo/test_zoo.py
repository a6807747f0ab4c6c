"""What is shipped can be listed, read and loaded, and is small."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax import zoo
from restore_jax.core import Observation
from restore_jax.data.sets.embedded import Embedded
from restore_jax.evaluate.demo import PRIOR, demonstrate
from restore_jax.infer.load import load
from restore_jax.methods.model import Model, located, read_model, write_model
from restore_jax.methods.regression import lift
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.nets.efficientnet import MISSING, installed

METHOD = {
    "name": "methods.regression.Regression",
    "net": {"name": "nets.dncnn.DnCNN", "width": 4, "depth": 3},
    "precondition": {"name": "diffusion.precondition.Direct"},
    "target": {"name": "targets.clean.Clean"},
    "metric": {"name": "metrics.pixel.Mse"},
    "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
    "scale": 1,
}


def test_a_folder_is_listed(tmp_path):
    assert zoo.names(tmp_path) == ()
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text("{}")
    (tmp_path / "c").mkdir()
    assert zoo.names(tmp_path) == ("a", "b")


def test_a_name_is_a_shipped_model_unless_there_is_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "names", lambda: ("denoise",))
    monkeypatch.chdir(tmp_path)
    assert located("denoise") == zoo.FOLDER / "denoise"
    assert located("other").name == str(located("other"))
    (tmp_path / "denoise").mkdir()
    assert str(located("denoise")) == "denoise"


def test_all_together_are_small():
    sizes = [(zoo.FOLDER / name / "params.safetensors").stat().st_size for name in zoo.names()]
    assert all(size <= 8e6 for size in sizes)
    assert sum(sizes) <= 30e6


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_model_says_what_it_is(name):
    model = read_model(zoo.FOLDER / name)
    assert model.task
    assert {"licence", "source", "credits", "commit", "images", "seconds", "devices"} <= set(model.provenance)
    assert load(name).scale == model.scale


def test_task_and_figures_are_kept(tmp_path):
    model = Model(
        METHOD, {"a": {"kernel": np.zeros((2, 2), np.float32)}}, task="denoise", figures={"CBSD68/25 psnr": 30.5}
    )
    again = read_model(write_model(tmp_path / "model", model))
    assert (again.task, again.figures) == ("denoise", {"CBSD68/25 psnr": 30.5})


def nearer_by_features(name, shown, x):
    """What a model that makes texture may give PSNR for: a perceptual distance that is a tenth lower at least."""
    if not installed():
        pytest.skip(MISSING)
    lifted = lift(Observation(y=jnp.asarray(shown.y)[None]), read_model(zoo.FOLDER / name).scale).cond["image"][0]
    before, after = (float(Perceptual()(jnp.clip(jnp.asarray(p), 0, 1), jnp.asarray(x))) for p in (lifted, shown.x_hat))
    return after < 0.9 * before


@functools.cache
def restored(name):
    """A held-out photograph, and what the model makes of it."""
    x = np.asarray(Embedded("heldout")[0])[:128, 96:224].astype(np.float32) / 255
    return demonstrate(name, x), x


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_model_improves_a_photograph_without_a_cast(name):
    shown, x = restored(name)
    assert shown.after_db > shown.before_db or nearer_by_features(name, shown, x)
    # Noise of 75/255 in 16,384 pixels leaves a mean that is uncertain by 0.6/255: what it was given is what counts.
    allowed = np.abs(shown.y.mean((0, 1)) - x.mean((0, 1))) if read_model(zoo.FOLDER / name).task != PRIOR else 1 / 255
    assert (np.abs((shown.x_hat - x).mean((0, 1))) <= allowed + 0.5 / 255).all()


def grid(x):
    """The amplitudes of rows, columns and a checkerboard that turn their sign with every pixel."""
    sign = 1 - 2 * (np.indices(x.shape[:2]) % 2)
    return np.abs([np.mean(s * x.mean(-1)) for s in (sign[0], sign[1], sign[0] * sign[1])])


def test_a_grid_is_found():
    x = np.random.default_rng(0).uniform(size=(64, 64, 3))
    stripes = 0.1 * (1 - 2 * (np.arange(64) % 2))[:, None, None]
    # Of 4,096 means of three pixels of deviation 0.29, five deviations of their mean.
    np.testing.assert_allclose(grid(x + stripes), [0.1, 0, 0], atol=5 * 0.29 / np.sqrt(3 * 64**2))
    np.testing.assert_allclose(grid(0.5 + stripes * stripes[::-1].swapaxes(0, 1)), [0, 0, 0.01], atol=1e-9)


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_model_draws_no_grid(name):
    """Beside the photograph's own at most half of what rounding to 8 bits turns by: from one grey level to the next."""
    shown, x = restored(name)
    assert (grid(shown.x_hat) <= grid(x) + 0.25 / 255).all()
