"""The few-step ablation is what it says, and a sweep trains, resumes and refuses."""

import json
import sys

import pytest

from configs.ablations import few_step
from experiments import sweep
from restore_jax.build import SpecError, build
from restore_jax.core import Method, Sampler
from restore_jax.train.config import Config


def test_every_row_spends_the_budget_it_says():
    """Students have BUDGET and their teacher's; what starts from nothing has both; all within one batch a run."""
    batch = few_step.BATCH
    for name in few_step.ROWS:
        run = few_step.ROWS[name][0][0]
        spent, rounding = 0, 0
        while run:
            evaluations, _, start, _ = few_step.RUNS[run]
            spent, rounding = spent + few_step.images(run) * evaluations, rounding + batch * evaluations
            run = start
        wanted = few_step.BUDGET * (1 if name == "teacher" else 2)
        assert wanted - rounding <= spent <= wanted, name


@pytest.mark.parametrize("name", few_step.RUNS)
def test_every_run_builds(name):
    config = Config.parse(few_step.get_config(f"{name}-1"))
    assert config.seed == 1
    assert isinstance(build(config.method, "method"), Method)
    build(config.optim, "optim").transform(config.batch_size, config.images)
    same = [field for field in ("train_set", "heldout_set", "degrade", "crop_px", "batch_size")]
    teacher = Config.parse(few_step.get_config())
    assert all(getattr(config, field) == getattr(teacher, field) for field in same)


def test_rows_are_sampled_in_one_and_two_evaluations():
    for name, samplers in few_step.ROWS.items():
        built = [build(spec, "sampler") for _, spec in samplers]
        assert all(isinstance(one, Sampler) for one in built)
        assert [one.nfe for one in built] == {"regression": [1], "teacher": [18, 2]}.get(name, [1, 2])
        assert all(run in few_step.RUNS for run, _ in samplers)


def test_a_run_comes_after_those_it_needs():
    seen = [""]
    for label, entry in few_step.sweep().items():
        assert entry["start"] in seen
        assert entry["teacher"] in seen
        seen.append(label)
    assert len(seen) == 1 + len(few_step.RUNS) * len(few_step.SEEDS)


@pytest.mark.parametrize("arg", ["ectt-0", "ect", "ect-x"])
def test_an_unknown_run_is_refused_with_the_known_ones(arg):
    with pytest.raises(ValueError, match="progressive4"):
        few_step.get_config(arg)


@pytest.mark.soak
def test_a_sweep_trains_from_what_it_trained_and_goes_on(tmp_path, monkeypatch, capsys):
    """A teacher and the student that starts from it, 16 crops each; again, and nothing is trained twice."""
    runs = {label: few_step.sweep()[label] for label in ("teacher-0", "ect-0")}
    for entry in runs.values():
        tiny = {"width": 8, "multipliers": (1,), "embed": 8}
        entry["config"].update(images=16, batch_size=8, crop_px=16)
        entry["config"].method.net.update(tiny)
    monkeypatch.setattr(few_step, "sweep", lambda: runs)
    command = ["sweep", "--config", "configs/ablations/few_step", "--workdir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    assert sweep.main() == 0
    config = json.loads((tmp_path / "ect-0" / "config.json").read_text())
    assert config["start"] == str(tmp_path / "teacher-0")
    assert json.loads((tmp_path / "ect-0" / "seconds.json").read_text())["seconds"] > 0
    monkeypatch.setattr(sweep, "train", lambda *_: pytest.fail("trained again"))
    assert sweep.main() == 0
    monkeypatch.setattr(sys, "argv", [*command, "--only", "cd"])
    assert sweep.main() == 1
    assert "teacher-0" in capsys.readouterr().err


@pytest.mark.parametrize(("path", "said"), [("configs/nothing", "no such file"), ("configs/diffusion.py", "no sweep")])
def test_a_config_without_a_sweep_is_refused(path, said):
    with pytest.raises(SpecError, match=said):
        sweep.ablation(path)


def entry(start="", teacher=""):
    return {"start": start, "teacher": teacher}


RUNS = {
    "base-0": entry(),
    "fast-0": entry(start="base-0"),
    "base-1": entry(),
    "alone": entry(),
    "fast-1": entry(teacher="base-1"),
    "both": entry(start="fast-0", teacher="base-0"),
}


def test_shares_hold_whole_families_and_together_all_runs_once():
    """A run waits for none of another share; 3 families over 2 shares, and over 5, of which two are empty."""
    assert list(sweep.share(RUNS, "0/2")) == ["base-0", "fast-0", "alone", "both"]
    assert list(sweep.share(RUNS, "1/2")) == ["base-1", "fast-1"]
    for n in (1, 3, 5):
        dealt = [label for i in range(n) for label in sweep.share(RUNS, f"{i}/{n}")]
        assert sorted(dealt) == sorted(RUNS)
    assert sweep.share(RUNS, "4/5") == {}
    assert sweep.share(RUNS, "0/1") == RUNS


def test_a_run_that_joins_two_families_makes_them_one():
    runs = {"a": entry(), "b": entry(), "c": entry(start="a", teacher="b")}
    assert sweep.share(runs, "0/2") == runs


@pytest.mark.parametrize("shard", ["2/2", "a/b", "1", "-1/2", "0/0"])
def test_a_share_that_is_none_is_refused(shard):
    with pytest.raises(SpecError, match="--shard must be i/n with i from 0 to n - 1"):
        sweep.share(RUNS, shard)
