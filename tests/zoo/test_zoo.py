"""What is shipped can be listed, read and loaded, and is small."""

import pytest

from restore_jax import zoo
from restore_jax.infer.load import load, located
from restore_jax.infer.model import Model, read_model, write_model


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
    method = {
        "name": "methods.regression.Regression",
        "net": {"name": "nets.dncnn.DnCNN", "width": 4, "depth": 3},
        "precondition": {"name": "diffusion.precondition.Direct"},
        "target": {"name": "targets.clean.Clean"},
        "metric": {"name": "metrics.pixel.Mse"},
        "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
        "scale": 1,
    }
    model = Model(method, {"a": {"kernel": zeros()}}, task="denoise", figures={"CBSD68/25 psnr": 30.5})
    again = read_model(write_model(tmp_path / "model", model))
    assert (again.task, again.figures) == ("denoise", {"CBSD68/25 psnr": 30.5})


def zeros():
    import numpy as np

    return np.zeros((2, 2), np.float32)
