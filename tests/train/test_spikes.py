"""A step that stands out is written down with its photographs, and the torn one among them is named."""

import json

import jax
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import split
from restore_jax.data.pipeline import Pipeline, to_float
from restore_jax.train.spikes import SpikeLog, Spikes
from tests.train.tiny import NOISE, Bare, Torn

NAN = float("nan")


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline(build({"name": "data.sets.embedded.Embedded", "split": "heldout"}), 4, 16, seed=3)


def rows(folder):
    path = folder / "spikes.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_rule():
    """Ten losses of median 1 and a factor of 3: 3 is not above it, 3.1 is; skipped and not finite always are."""
    rule = Spikes(factor=3.0, last=20)
    before = [0.5, 1.5] * 4 + [1.0, 1.0]
    assert rule.reason(3.1, False, before) == "the loss is 3.1 times the median"
    assert rule.reason(3.0, False, before) == ""
    assert rule.reason(300.0, False, before[:9]) == ""
    assert rule.reason(300.0, False, [-1.0] * 10) == ""
    assert rule.reason(1.0, True, []) == "the gradient is not finite"
    assert rule.reason(NAN, True, []) == "the loss is nan"


def test_a_spike_is_written_with_the_photographs_of_its_step(tmp_path, pipeline):
    log = SpikeLog(tmp_path, Spikes(last=10), pipeline, build(NOISE), 0)
    for step in range(1, 13):
        assert log.step(step, {"loss": 1.0, "skipped": 0.0}) == ""
    assert "Step 13: the loss is 8 times the median" in log.step(13, {"loss": 8.0})
    (row,) = rows(tmp_path)
    assert row == {
        "step": 13,
        "images": 52,
        "loss": 8.0,
        "median": 1.0,
        "reason": "the loss is 8 times the median",
        "photographs": pipeline.photos(12),  # the batch of the 13th step is number 12
        "attempt": 0,
    }
    assert log.before == [1.0] * 9 + [8.0]


def test_the_photograph_that_the_degradation_tears_is_named(tmp_path, pipeline):
    """`Torn` tears pictures lighter than a level between those of the batch: exactly they are named."""
    x = to_float(pipeline[6])
    means = np.asarray(x.mean(axis=(1, 2, 3)))
    level = float(np.median(means))
    log = SpikeLog(tmp_path, Spikes(), pipeline, Torn(level), 0)
    log.step(7, {"loss": NAN, "skipped": 1.0})
    (row,) = rows(tmp_path)
    assert row["loss"] is None
    names = pipeline.photos(6)
    assert row["not_finite"] == [names[i] for i in range(4) if means[i] > level]
    assert 0 < len(row["not_finite"]) < 4
    assert log.before == []
    assert "config.degrade" in log.blame(7)
    assert "look at the method" in SpikeLog(tmp_path, Spikes(), pipeline, build(NOISE), 0).blame(7)


def test_the_observation_is_made_by_the_steps_own_keys(tmp_path, pipeline):
    """A degradation that tears by its key alone: what is named is what `train.step` would have torn."""
    import jax.numpy as jnp

    from restore_jax.core import Observation
    from restore_jax.train.optim import AdamW
    from restore_jax.train.step import create_state

    def by_chance(key, x):
        return Observation(y=x * jnp.where(jax.random.bernoulli(key), jnp.nan, 1.0))

    state = create_state(Bare(), by_chance, AdamW().transform(1, 10), jax.random.key(5), (16, 16, 3))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(state.key, 2), jnp.arange(4))
    torn = [bool(jax.random.bernoulli(key)) for key in split(keys)[0]]
    names = pipeline.photos(2)
    found = SpikeLog(tmp_path, Spikes(), pipeline, by_chance, 5).not_finite(3)
    assert found == [name for name, bad in zip(names, torn) if bad]
    assert any(torn)


def test_the_rows_of_all_processes_are_named(tmp_path, pipeline):
    import dataclasses

    second = dataclasses.replace(pipeline, process_index=1, process_count=2)
    assert SpikeLog(tmp_path, Spikes(), second, build(NOISE), 0).photographs(3) == pipeline.photos(2)


def test_what_will_be_made_again_is_taken_back_and_what_was_given_up_stays(tmp_path, pipeline):
    log = SpikeLog(tmp_path, Spikes(), pipeline, build(NOISE), 0)
    for step in (2, 5, 7):
        log.step(step, {"loss": 1.0, "skipped": 1.0})
    log.attempt = 1
    log.step(6, {"loss": 1.0, "skipped": 1.0})
    with open(tmp_path / "spikes.jsonl", "a") as file:
        file.write('{"step": 8, "im')
    again = SpikeLog(tmp_path, Spikes(), pipeline, build(NOISE), 0)
    again.resume(4, attempt=1)
    assert [(row["step"], row["attempt"]) for row in rows(tmp_path)] == [(2, 0), (5, 0), (7, 0)]


def test_a_run_gone_wrong_does_not_fill_the_disk(tmp_path, pipeline):
    log = SpikeLog(tmp_path, Spikes(at_most=2), pipeline, build(NOISE), 0)
    for step in range(1, 6):
        log.step(step, {"loss": 1.0, "skipped": 1.0})
    assert len(rows(tmp_path)) == 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"factor": 1.0}, "Spikes.factor must be above 1"), ({"last": 9}, "Spikes.last must be 10 or above")],
)
def test_mistakes_are_named(fields, says):
    with pytest.raises(ValueError, match=says):
        Spikes(**fields)
