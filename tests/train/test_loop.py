"""Runs: interrupted and killed ones end like uninterrupted ones, to the bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from restore_jax.build import SpecError
from restore_jax.train.checkpoint import CheckpointError, read
from restore_jax.train.loop import Config, Interrupted, train
from tests.train.tiny import DIFFUSION, tiny_config

ROOT = Path(__file__).parents[2]


def rows(workdir):
    return [json.loads(line) for line in (workdir / "table.jsonl").read_text().splitlines()]


def start(workdir: Path, images: int = 32) -> subprocess.Popen:
    script = (
        "from restore_jax.train.loop import train, Interrupted\n"
        "from tests.train.tiny import tiny_config\n"
        f"train(tiny_config(images={images}), {str(workdir)!r})\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_row(workdir: Path, step: int, process: subprocess.Popen) -> None:
    table = workdir / "table.jsonl"
    deadline = time.monotonic() + 120
    while not (table.exists() and any(json.loads(r)["step"] >= step for r in table.read_text().splitlines() if r)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the run never got that far"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """8 steps in one go, a checkpoint every 2."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, train(tiny_config(), workdir)


def same(state, other):
    raw = lambda leaf: jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(raw(x), raw(y)), state, other)


@pytest.mark.soak  # as the next, without the kill
def test_half_then_half_is_the_whole_to_the_bit(uninterrupted, tmp_path, monkeypatch):
    """N/2 steps, stop, a fresh start from the checkpoint, N/2 steps = N steps; data order included."""
    from restore_jax.train import log

    original, ticks = log.RunLog.tick, 0

    def stop_after_four(self):
        nonlocal ticks
        original(self)
        ticks += 1
        if ticks == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(log.RunLog, "tick", stop_after_four)
    with pytest.raises(Interrupted, match=r"saved at step 4 of 8.*goes on from here") as caught:
        train(tiny_config(), tmp_path)
    assert caught.value.code == 0
    monkeypatch.undo()
    assert read(tmp_path)[2] == 4
    same(train(tiny_config(), tmp_path), uninterrupted[1])
    assert rows(tmp_path) == rows(uninterrupted[0])


def test_killed_and_resumed_is_the_whole_to_the_bit(uninterrupted, tmp_path):
    """SIGKILL at a moment nobody chose, then the same command again."""
    process = start(tmp_path)
    wait_for_row(tmp_path, 3, process)
    process.kill()
    process.communicate()
    killed_at = len(rows(tmp_path))
    same(train(tiny_config(), tmp_path), uninterrupted[1])
    assert rows(tmp_path) == rows(uninterrupted[0])
    assert killed_at >= 3


def test_sigterm_saves_and_exits_0(tmp_path):
    process = start(tmp_path, images=4000)
    wait_for_row(tmp_path, 2, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert read(tmp_path)[2] >= 2


def test_a_finished_run_is_not_run_again(uninterrupted):
    before = rows(uninterrupted[0])
    same(train(tiny_config(), uninterrupted[0]), uninterrupted[1])
    assert rows(uninterrupted[0]) == before


def test_the_log(uninterrupted):
    workdir, _ = uninterrupted
    table = rows(workdir)
    assert [r["step"] for r in table if "loss" in r] == list(range(1, 9))
    assert all(r["images"] == 4 * r["step"] for r in table)
    assert any("heldout_psnr" in r for r in table)
    assert list((workdir / "tensorboard").glob("events*"))


def test_starting_from_another_run(uninterrupted, tmp_path):
    still = {"name": "train.optim.AdamW", "rate": 0.0}
    state = train(tiny_config(images=4, start=str(uninterrupted[0]), optim=still), tmp_path)
    same(state.params, uninterrupted[1].ema)


def test_a_teacher_is_frozen(uninterrupted, tmp_path):
    method = DIFFUSION | {"target": {"name": "targets.distill.ConsistencyDistillation", "n_levels": 4}}
    state = train(tiny_config(images=8, teacher=str(uninterrupted[0]), method=method), tmp_path)
    same(state.frozen["teacher"], uninterrupted[1].ema)


def test_another_network_to_start_from(uninterrupted, tmp_path):
    method = DIFFUSION | {"net": DIFFUSION["net"] | {"width": 8}}
    with pytest.raises(SpecError, match="another network"):
        train(tiny_config(start=str(uninterrupted[0]), method=method), tmp_path)


def test_a_run_with_no_checkpoint_to_start_from(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        train(tiny_config(start=str(tmp_path / "nowhere")), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imags": 3}, "no field 'imags'. Did you mean 'images'"),
        ({"images": "many"}, "config.images is a whole number"),
        ({"degrade": {"name": "degrade.noise.Gausian"}}, "Did you mean 'degrade.noise.Gaussian'"),
    ],
)
def test_a_config_with_a_mistake(tmp_path, change, message):
    with pytest.raises(SpecError, match=message):
        train(tiny_config(**change), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(tiny_config(optim={"name": "train.optim.AdamW", "rate": 1e30}), tmp_path)


def test_parse_takes_configdicts():
    from ml_collections import ConfigDict

    assert Config.parse(ConfigDict(tiny_config())).images == 32
