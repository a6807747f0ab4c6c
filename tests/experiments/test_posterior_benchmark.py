"""The table of posterior samplers, through its functions: one row that must be right, and rows that must not hide."""

import jax
import pytest

from benchmarks import posterior
from restore_jax.core import Observation


@pytest.fixture(scope="module")
def rows():
    budget = posterior.Budget(samples=400, steps=40, projections=48)
    return posterior.run(budget, only=("Pigdm",), operators=("mask",), world_names=("isotropic",))


@pytest.mark.soak
def test_a_sampler_that_is_exact_there_is_at_the_floor(rows):
    assert [row["sampler"] for row in rows] == [posterior.REFERENCE, "Pigdm"]
    for row in rows:
        assert row["exact"]
        # 24 pixels are free: the largest of so many standard normal numbers is below 4.5 but once in 6000. 40 steps
        # leave a deviation too small by some per cent, hence the rest.
        assert row["mean_err_se"] < 4.5
        assert row["cov_err"] < 1.5 * row["cov_floor"]
        assert row["swd"] < 2 * row["swd_floor"]


@pytest.mark.soak
def test_the_prior_instead_of_the_posterior_is_found(rows):
    """Samples that ignore y: many errors off, and further than the floor."""
    key_worlds, key_tasks, _ = jax.random.split(jax.random.key(posterior.SEED), 3)
    world, budget = posterior.worlds(key_worlds)["isotropic"], posterior.Budget(samples=400, projections=48)
    task = posterior.task(jax.random.split(key_tasks, 1)[0], "isotropic", "mask", world, budget)
    draw = lambda keys, world, obs: world.sample(keys, len(keys))
    figures = posterior.measure(jax.random.key(1), draw, world, task, budget)
    assert figures["mean_err_se"] > 10
    assert figures["cov_err"] > 3 * figures["cov_floor"]
    assert figures["swd"] > 5 * figures["swd_floor"]

    def fails(keys, world, obs: Observation):
        raise ValueError("no svd()")

    assert posterior.measure(jax.random.key(1), fails, world, task, budget) == {"error": "ValueError: no svd()"}
    nowhere = lambda keys, world, obs: world.sample(keys, len(keys)) / 0.0
    assert "samples are not finite" in posterior.measure(jax.random.key(1), nowhere, world, task, budget)["error"]


def test_table_shows_figures_and_errors(rows):
    broken = {name: rows[0][name] for name in posterior.COLUMNS[:4]} | {"error": "ValueError: no svd()"}
    lines = posterior.table([*rows, broken]).splitlines()
    assert len(lines) == 2 + 3
    assert lines[0].startswith("| sampler | operator | world | exact | mean_err_se |")
    assert lines[-1].endswith("| True | ValueError: no svd() |")


def test_settings_of_the_benchmark_are_the_outermost_ones():
    spec = {
        "name": "diffusion.posterior.daps.Daps",
        "n_steps": 3,
        "ode_steps": 1,
        "deviation": 0.1,
        "step": {"name": "diffusion.solver.Heun"},
    }
    ready = posterior.prepare(spec, posterior.Budget(steps=7), posterior.DEVIATION)
    assert (ready["n_steps"], ready["ode_steps"], ready["deviation"]) == (7, 1, posterior.DEVIATION)
    assert ready["schedule"]["sigma_max"] == posterior.SCHEDULE.sigma_max
    assert posterior.claims(ready, "isotropic")
    assert not posterior.claims(ready, "gaussian")
    plain = posterior.prepare(spec | {"deviation": None}, posterior.Budget(steps=7), posterior.DEVIATION)
    assert plain["deviation"] is None
    assert not posterior.claims(plain, "isotropic")


def test_every_module_is_in_the_table():
    found = posterior.discover()
    classes = {posterior.class_of(spec) for spec in found.values()}
    assert {"Ddnm", "Pigdm", "MomentMatching", "Dps"} <= classes
    with pytest.raises(ValueError, match="There is no posterior sampler Nobody; there are: "):
        posterior.run(posterior.Budget(samples=2), only=("Nobody",))
