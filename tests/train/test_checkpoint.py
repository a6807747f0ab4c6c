"""Checkpoints: what is saved comes back to the bit, damage is named, and what cannot be used is refused by name."""

import gc
import json
import resource
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.data.pipeline import Pipeline
from restore_jax.train import checkpoint, integrity
from restore_jax.train.checkpoint import CheckpointError, Checkpoints, read
from restore_jax.train.retain import Retain
from tests.train.corrupt import corrupt
from tests.train.tiny import tiny_config
from tests.train.world import CONFIG, Place, bits, state_at


def saved(workdir, *steps, **fields):
    with Checkpoints(workdir, CONFIG, **fields) as checkpoints:
        for step in steps:
            checkpoints.save(state_at(step), Place(step))


def on_disk(workdir):
    names = [path.name for path in (workdir / "checkpoints").iterdir() if path.name != "manifests"]
    assert all(name.isdigit() for name in names)
    return sorted(map(int, names))


def save_and_wait(checkpoints, step):
    checkpoints.save(state_at(step), Place(step))
    checkpoints.wait()


def flip(path):
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


def test_everything_comes_back_to_the_bit(tmp_path):
    state = state_at(5)
    saved(tmp_path, 5)
    other = Place()
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        assert checkpoints.latest == 5
        back = checkpoints.restore(state_at(0), other)
    assert bits(back) == bits(state)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    assert back.key.dtype == state.key.dtype
    assert other.at == 5
    config, arrays, step = read(tmp_path)
    assert (config, step) == (CONFIG, 5)
    assert bits(arrays["ema"]) == bits(state.ema)


def test_a_grain_iterator_goes_on_where_it_was(tmp_path):
    pipeline = Pipeline(build(tiny_config()["train_set"]), 4, 16)
    iterator, other = pipeline.iterator(), pipeline.iterator()
    for _ in range(3):
        next(iterator)
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.save(state_at(3), iterator)
        next(iterator)  # on, while it is still being written
        checkpoints.restore(state_at(0), other)
    np.testing.assert_array_equal(next(other), pipeline[3])


def test_a_state_given_away_as_soon_as_save_returns(tmp_path):
    """Its buffers are the next step's: what is on disk must be what they held before."""
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + jnp.ones_like(x), state), donate_argnums=0)
    drop = lambda state: state.replace(key=jnp.int32(0), aux={})
    state, wanted = drop(state_at(4, 64)), bits(drop(state_at(4, 64)))
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.save(state, Place())
        for _ in range(50):
            state = step(state)
        assert bits(checkpoints.restore(state, Place())) == wanted


def test_save_returns_before_the_bytes_are_written(tmp_path, monkeypatch):
    gate, original = threading.Event(), integrity.sums
    monkeypatch.setattr(integrity, "sums", lambda folder: (gate.wait(30), original(folder))[1])
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.save(state_at(1), Place())
        assert checkpoints.latest is None
        with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
            read(tmp_path)  # it has no manifest yet
        gate.set()
        checkpoints.wait()
        assert checkpoints.latest == 1


def test_saving_a_step_again_does_nothing(tmp_path):
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.save(state_at(1), Place(1))
        checkpoints.save(state_at(1), Place(2))
        place = Place()
        checkpoints.restore(state_at(0), place)
    assert place.at == 1


def test_retention(tmp_path):
    psnr = {1: 30.0, 2: 33.0, 3: 31.0, 4: 32.0, 5: 29.0, 6: 28.0}
    rule = Retain(latest=2, best=1, every_images=12)
    with Checkpoints(tmp_path, CONFIG, rule, batch_size=4) as checkpoints:
        for step, value in psnr.items():
            checkpoints.save(state_at(step), Place(), {"heldout_psnr": value})
    assert on_disk(tmp_path) == integrity.steps(tmp_path / "checkpoints") == [2, 3, 5, 6]
    with Checkpoints(tmp_path, CONFIG, Retain(latest=1, best=1)) as checkpoints:  # values are read again
        checkpoints.save(state_at(7), Place())
    assert on_disk(tmp_path) == [2, 7]


def test_roll_back(tmp_path):
    with Checkpoints(tmp_path, CONFIG, Retain(latest=5)) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state_at(step), Place(step))
        checkpoints.drop_after(1)
        assert checkpoints.latest == 1
        assert on_disk(tmp_path) == [1]
        assert bits(checkpoints.restore(state_at(0), Place())) == bits(state_at(1))
        checkpoints.save(state_at(2).replace(params=state_at(9).params), Place())
        assert bits(checkpoints.restore(state_at(0), Place()).params) == bits(state_at(9).params)


def test_what_was_cut_off_is_passed_over_and_saved_anew(tmp_path):
    saved(tmp_path, 1, 2)
    (tmp_path / "checkpoints" / "manifests" / "2.json").unlink()  # as if killed between Orbax's end and the manifest
    (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir()
    said = []
    assert read(tmp_path, said.append)[2] == 1
    with Checkpoints(tmp_path, CONFIG, say=said.append) as checkpoints:
        assert bits(checkpoints.restore(state_at(0), Place())) == bits(state_at(1))
        checkpoints.save(state_at(2), Place())
    assert said == []
    assert on_disk(tmp_path) == [1, 2]
    assert read(tmp_path)[2] == 2


def test_damage_is_named_and_the_one_before_is_used():
    """The manifest is one of the files that are damaged; 100 cases are a soak test."""
    assert corrupt(12, seed=1) == {"cases": 12, "wrong": 0, "unnamed": 0}


@pytest.mark.soak
def test_a_hundred_damages():
    assert corrupt(100) == {"cases": 100, "wrong": 0, "unnamed": 0}


@pytest.mark.soak
def test_thirty_kills():
    """Every leaf and every logged number of the run that was killed is that of the run left alone."""
    command = [sys.executable, "-m", "tests.train.killed", "--kills", "30"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert (counts["runs"], counts["identical"]) == (30, True), counts


def test_damage_in_mid_run(tmp_path):
    """Found at a roll-back, though the bytes were whole when they were written; then the step is saved anew."""
    said = []
    with Checkpoints(tmp_path, CONFIG, say=said.append) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state_at(step), Place(step))
        checkpoints.wait()
        flip(tmp_path / "checkpoints" / "2" / "config" / "metadata")
        assert bits(checkpoints.restore(state_at(0), Place())) == bits(state_at(1))
        assert "2/config/metadata is not as it was written" in said[0]
        assert said[1] == "Going on from checkpoint 1, the newest that is whole."
        checkpoints.save(state_at(2), Place(2))
        assert bits(checkpoints.restore(state_at(0), Place())) == bits(state_at(2))


def test_all_damaged(tmp_path):
    """A fresh start in their place would overwrite them: it is refused."""
    saved(tmp_path, 1, 2)
    for step in (1, 2):
        flip(tmp_path / "checkpoints" / str(step) / "config" / "metadata")
    with pytest.raises(CheckpointError, match=r"Every checkpoint .*2/config/metadata .*1/config/metadata .*a copy"):
        Checkpoints(tmp_path, CONFIG, say=lambda text: None)
    with pytest.raises(CheckpointError, match="Every checkpoint"):
        read(tmp_path, lambda text: None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves its event loops open
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    """A limit on the size of files stands in for a full disk: the system refuses the write in the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.save(state_at(1), Place())
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        try:
            with pytest.raises(CheckpointError, match=r"step 2 .*File too large.* step 1, is still there.*Free some"):
                save_and_wait(checkpoints, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert checkpoints.latest == 1
        save_and_wait(checkpoints, 3)  # there is room again
    assert read(tmp_path)[2] == 3
    gc.collect()  # so that what Orbax left is warned of here


def test_an_earlier_failure_is_raised_by_the_next_save(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, CONFIG) as checkpoints:
        checkpoints.save(state_at(1), Place())
        checkpoints.wait()
        monkeypatch.setattr(integrity, "sums", lambda folder: 1 / 0)
        checkpoints.save(state_at(2), Place())
        checkpoints._thread.join()
        monkeypatch.undo()
        with pytest.raises(CheckpointError, match=r"step 2 .*division by zero. The last good checkpoint, step 1"):
            checkpoints.save(state_at(3), Place())
        checkpoints.wait()  # said once
    assert read(tmp_path)[2] == 1


def test_a_failure_at_the_end_does_not_hide_what_ended_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "sums", lambda folder: 1 / 0)
    said = []

    def run():
        with Checkpoints(tmp_path, CONFIG, say=said.append) as checkpoints:
            checkpoints.save(state_at(1), Place())
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert "Cannot write the checkpoint of step 1" in said[0]


def test_room(tmp_path, monkeypatch):
    one = sum(len(leaf) for leaf in bits(state_at(0)).values())  # with a few bytes for each type and shape
    said = []
    with Checkpoints(tmp_path, CONFIG, say=said.append) as checkpoints:
        for free, spoken in ((4 * one, 0), (2 * one, 1)):
            monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path, free=free: type("D", (), {"free": free}))
            checkpoints.room_for(state_at(0))
            assert len(said) == spoken
        assert "has room for 2 more checkpoints, and 3 will be written" in said[0]
        monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: type("D", (), {"free": 1000}))
        with pytest.raises(CheckpointError, match=r"MiB free and a checkpoint takes .*Free some space"):
            checkpoints.room_for(state_at(0))


def test_another_config_is_refused_with_what_differs(tmp_path):
    Checkpoints(tmp_path, CONFIG).__exit__()
    other = CONFIG | {"images": 128, "degrade": CONFIG["degrade"] | {"std": 0.2}}
    with pytest.raises(CheckpointError, match="belongs to another config") as caught:
        Checkpoints(tmp_path, other)
    assert "degrade.std: saved 0.1, asked 0.2" in str(caught.value)
    assert "images: saved 64, asked 128" in str(caught.value)
    assert "batch_size" not in str(caught.value)
    said = []
    Checkpoints(tmp_path, other, say=said.append, migrate=True).__exit__()
    assert "degrade.std: saved 0.1, asked 0.2" in said[0]
    assert json.loads((tmp_path / "config.json").read_text()) == other


def test_how_a_run_is_watched_may_change(tmp_path):
    saved(tmp_path, 1)
    Checkpoints(tmp_path, CONFIG | {"log_every_images": 16, "retain": {}}).__exit__()


@pytest.mark.parametrize("text", ["{", '{"images": 3}'])
def test_a_damaged_config_file_is_written_anew_from_the_checkpoint(tmp_path, text):
    saved(tmp_path, 1)
    (tmp_path / "config.json").write_text(text)
    said = []
    Checkpoints(tmp_path, CONFIG, say=said.append).__exit__()
    assert "config.json was damaged or changed by hand" in said[0]
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_another_layout_is_refused_or_migrated(tmp_path):
    saved(tmp_path, 3)
    like = state_at(0)
    like = like.replace(aux={}, params=like.params | {"new": jnp.ones(2), "list": [jnp.zeros(5), jnp.float32(0)]})
    with Checkpoints(tmp_path, CONFIG) as checkpoints, pytest.raises(CheckpointError, match="migrate") as caught:
        checkpoints.restore(like, Place())
    for line in ("aux/key: saved uint32[2], not asked for", "params/list/0: saved float32[2], asked float32[5]"):
        assert line in str(caught.value)
    said, place = [], Place()
    with Checkpoints(tmp_path, CONFIG, say=said.append, migrate=True) as checkpoints:
        state = checkpoints.restore(like, place)
    assert "4 leaves do not fit" in said[0]
    assert "params/new: begins afresh" in said[0]
    assert place.at == 3
    wanted = state_at(3)
    wanted = wanted.replace(
        aux={}, params=wanted.params | {"new": jnp.ones(2), "list": [jnp.zeros(5), wanted.params["list"][1]]}
    )
    assert bits(state) == bits(wanted)


def test_another_version_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "__version__", "0.0.9")
    saved(tmp_path, 1)
    monkeypatch.undo()
    said = []
    with Checkpoints(tmp_path, CONFIG, say=said.append) as checkpoints:
        checkpoints.restore(state_at(0), Place())
    assert "saved by restore_jax 0.0.9" in said[0]


def test_checkpoints_from_before_checksums(tmp_path):
    """They are read, with a word; trained on only when asked."""
    saved(tmp_path, 1, 2)
    for path in (tmp_path / "checkpoints" / "manifests").iterdir():
        path.unlink()
    (tmp_path / "checkpoints" / "manifests").rmdir()
    said = []
    assert read(tmp_path, said.append)[2] == 2
    assert "no checksums" in said[0]
    with pytest.raises(CheckpointError, match=r"2 checkpoints without checksums.*migrate"):
        Checkpoints(tmp_path, CONFIG)
    with Checkpoints(tmp_path, CONFIG, migrate=True) as checkpoints:
        assert bits(checkpoints.restore(state_at(0), Place())) == bits(state_at(2))


def test_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"Cannot write to --workdir .*file"):
        Checkpoints(tmp_path / "file" / "run", CONFIG)


def test_reading_where_there_is_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        read(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        read(tmp_path)
    with Checkpoints(tmp_path, CONFIG) as checkpoints, pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoints.restore(state_at(0), Place())
