"""What was seen before a run is noted as it starts, and what is no model or run is named and no more."""

import json
from pathlib import Path

import numpy as np

from restore_jax.methods.model import UNKNOWN, Model, write_model
from restore_jax.train.lineage import seen_before, trained
from restore_jax.train.record import Record
from tests.train.tiny import DIFFUSION

CONFIG = {"batch_size": 4, "crop_px": 16}


def test_a_run_of_its_own_has_nothing_before_it(tmp_path):
    assert seen_before("") == {}
    said = trained(tmp_path, CONFIG, 3)
    assert (said["images"], said["crop_px"], said["devices"]) == ("12", "16", UNKNOWN)
    assert "start" not in said


def test_what_a_model_and_its_own_start_saw_adds_up(tmp_path):
    before = {"images": "5", "seconds": "7", "start": "first", "start_images": "20", "start_seconds": "30"}
    write_model(
        tmp_path / "second", Model(DIFFUSION | {"scale": 1}, {"bias": np.zeros(2, np.float32)}, provenance=before)
    )
    said = seen_before(str(tmp_path / "second"))
    assert said == {"start": "second", "start_images": "25", "start_seconds": "37"}


def test_a_start_that_is_neither_is_named(tmp_path):
    assert seen_before(str(tmp_path / "gone")) == {"start": "gone"}


def test_it_is_noted_at_the_first_start_alone(tmp_path):
    for images in ("8", "9"):
        with Record(tmp_path) as record:
            record.start(lambda images=images: {"start": "a", "start_images": images})
    assert json.loads(Path(tmp_path / "run.json").read_text())["before"]["start_images"] == "8"
    assert trained(tmp_path, CONFIG, 1)["start_images"] == "8"
