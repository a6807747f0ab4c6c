"""The search over settings: specs are changed where a path says, every combination is tried, the best is remembered."""

import argparse

import pytest

from configs import zero_shot
from experiments import tune
from experiments.tune import best, changed, combinations
from restore_jax.build import build
from restore_jax.core import Sampler


def test_a_path_leads_through_dicts_and_tuples_and_leaves_the_rest():
    spec = {"name": "a", "inner": ({"x": 1}, {"x": 2})}
    after = changed(spec, {"inner.1.x": 5, "name": "b"})
    assert after == {"name": "b", "inner": ({"x": 1}, {"x": 5})}
    assert spec == {"name": "a", "inner": ({"x": 1}, {"x": 2})}


def test_combinations_are_all_of_them():
    found = combinations({"a": (1, 2), "b": (3, 4, 5)})
    assert len(found) == 6
    assert {"a": 2, "b": 4} in found


@pytest.mark.parametrize("name", zero_shot.SAMPLERS)
def test_every_setting_of_a_sampler_builds(name):
    spec, space = zero_shot.SAMPLERS[name]
    for settings in combinations(space):
        assert isinstance(build(changed(spec, settings), name), Sampler)


@pytest.mark.parametrize("task", zero_shot.TASKS)
def test_every_task_is_linear(task, key):
    import jax

    degrade = build(zero_shot.TASKS[task], task)
    obs = jax.eval_shape(lambda: degrade(key, jax.numpy.zeros((32, 32, 3))))
    assert obs.operator is not None


def test_the_best_is_the_highest_of_its_own_sampler_and_task():
    rows = [
        {"sampler": "A", "task": "sr", "settings": {"x": [1, 2]}, "psnr": 20.0},
        {"sampler": "A", "task": "sr", "settings": {"x": [3, 4]}, "psnr": 21.0},
        {"sampler": "B", "task": "sr", "settings": {"x": 1}, "psnr": 30.0},
        {"sampler": "A", "task": "blur", "settings": {"x": 1}, "psnr": 30.0},
    ]
    assert best(rows, "A", "sr") == {"x": (3, 4)}  # tuples again, after JSON
    with pytest.raises(SystemExit, match=r"run experiments\.tune"):
        best(rows, "B", "blur")


def test_each_sampler_asks_its_own_prior(monkeypatch):
    monkeypatch.setattr(tune, "load_prior", lambda folder: (folder, {"of": folder}))
    priors, config = tune.load_priors(argparse.Namespace(workdir="denoiser", consistency="tuned"))
    assert config == {"of": "denoiser"}
    assert {name for name, prior in priors.items() if prior == "tuned"} == set(zero_shot.OF_CONSISTENCY)
    assert set(priors) == set(zero_shot.SAMPLERS)
