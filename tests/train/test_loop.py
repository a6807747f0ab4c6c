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
from restore_jax.train.loop import train
from restore_jax.train.rollback import Diverged
from restore_jax.train.stop import Interrupted
from tests.train.tiny import DIFFUSION, tiny_config

ROOT = Path(__file__).parents[2]


def rows(workdir):
    return [json.loads(line) for line in (workdir / "table.jsonl").read_text().splitlines()]


def start(workdir: Path, images: int = 32) -> subprocess.Popen:
    script = (
        "from restore_jax.train.loop import train\n"
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

    def stop_after_four(self, steps=1):
        nonlocal ticks
        original(self, steps)
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
        ({"degrade": {"name": "degrade.noise.Gausian"}}, "Did you mean 'degrade.noise.Gaussian'"),
    ],
)
def test_a_config_with_a_mistake(tmp_path, change, message):
    with pytest.raises(SpecError, match=message):
        train(tiny_config(**change), tmp_path)
    assert not (tmp_path / "run.json").exists()


FIXED = {"name": "train.optim.AdamW", "rate": 1e-3, "decay": {"name": "train.optim.Constant"}}


def test_a_run_that_diverges_goes_back_and_on_at_half_the_rate(tmp_path):
    """Found at step 5, back to checkpoint 4: the table is without a seam, and everything remembers."""
    alarm = {"name": "tests.train.tiny.Alarm", "at": 5, "above": 0.75e-3}
    state = train(tiny_config(guard=alarm, optim=FIXED), tmp_path)
    assert (float(state.aux["rate"]), int(state.aux["rollbacks"]), int(state.step)) == (0.5, 1, 8)
    (row,) = [json.loads(line) for line in (tmp_path / "rollbacks.jsonl").read_text().splitlines()]
    assert row == {"number": 1, "reason": "the alarm rang", "found": 5, "to": 4, "rate": 0.5}
    table = [r for r in rows(tmp_path) if "loss" in r]
    assert [r["step"] for r in table] == list(range(1, 9))
    np.testing.assert_allclose([r["rate"] for r in table], [1e-3] * 4 + [5e-4] * 4, rtol=1e-6)
    same(train(tiny_config(guard=alarm, optim=FIXED), tmp_path), state)


@pytest.mark.soak
def test_a_run_that_diverges_for_good_says_what_was_tried(tmp_path):
    """A rate of 1e30 before any checkpoint: back to the start, once, and no further."""
    guard = {"name": "train.guard.Divergence", "times": 1}
    with pytest.raises(Diverged, match=r"from step \d to step 0, rate x 0\.5\. Lower the learning rate") as caught:
        train(tiny_config(optim=FIXED | {"rate": 1e30}, guard=guard, checkpoint_every_images=32), tmp_path)
    assert isinstance(caught.value, FloatingPointError)
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "failed"


def test_a_first_step_that_is_not_finite_is_refused_with_the_photograph(tmp_path):
    torn = {"name": "tests.train.tiny.Torn"}
    with pytest.raises(
        Diverged, match=r"Step 1: the loss is nan.*config\.degrade\) makes numbers .* not finite of \w+"
    ):
        train(tiny_config(degrade=torn, method=DIFFUSION, guard=None), tmp_path)
    spike = json.loads((tmp_path / "spikes.jsonl").read_text().splitlines()[0])
    assert spike["not_finite"] == spike["photographs"]
    assert len(spike["photographs"]) == 4


def test_several_steps_a_dispatch_are_the_same_steps(uninterrupted, tmp_path):
    """3, 3 and 2 steps: rows at 3, 6, 8 with the mean loss of those between.

    The programs of one step and of several sum in other orders: float32's rounding, 6e-8, grows over 8 steps of Adam at
    1e-3, whose parameters are of order 0.1; 1e-4 is far below a step of 1e-3 and above that.
    """
    config = tiny_config(steps_per_dispatch=3)
    state = train(config, tmp_path / "whole")
    for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(uninterrupted[1].params)):
        np.testing.assert_allclose(one, other, atol=1e-4)
    table = [r for r in rows(tmp_path / "whole") if "loss" in r]
    single = [r["loss"] for r in rows(uninterrupted[0]) if "loss" in r]
    assert [r["step"] for r in table] == [3, 6, 8]
    means = [np.mean(single[:3]), np.mean(single[3:6]), np.mean(single[6:])]
    np.testing.assert_allclose([r["loss"] for r in table], means, rtol=1e-3)


@pytest.mark.soak
def test_several_steps_a_dispatch_go_on_to_the_bit(tmp_path, monkeypatch):
    """3, 3 and 2 steps, stopped after the first dispatch."""
    config = tiny_config(steps_per_dispatch=3)
    state = train(config, tmp_path / "whole")
    from restore_jax.train import log

    original = log.RunLog.tick
    monkeypatch.setattr(log.RunLog, "tick", lambda self, n=1: (original(self, n), os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(Interrupted, match="stopped by SIGINT and saved at step 3 of 8"):
        train(config, tmp_path / "halves")
    monkeypatch.undo()
    same(train(config, tmp_path / "halves"), state)
    assert rows(tmp_path / "halves") == rows(tmp_path / "whole")


@pytest.mark.soak
def test_stopped_between_two_rows_it_writes_the_same_row(tmp_path, monkeypatch):
    """A row every 4 steps, stopped after 2: what the first two said is in the checkpoint."""
    from restore_jax.train import log

    config = tiny_config(log_every_images=16)
    state = train(config, tmp_path / "whole")
    original, ticks = log.RunLog.tick, []

    def stop(self, steps=1):
        original(self, steps)
        ticks.append(steps)
        if len(ticks) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(log.RunLog, "tick", stop)
    with pytest.raises(Interrupted, match="at step 2 of 8"):
        train(config, tmp_path / "halves")
    monkeypatch.undo()
    same(train(config, tmp_path / "halves"), state)
    assert rows(tmp_path / "halves") == rows(tmp_path / "whole")


@pytest.mark.soak
def test_a_trace_is_written_and_said(tmp_path, capsys):
    state = train(tiny_config(), tmp_path, profile=2)
    assert int(state.step) == 8
    assert "trace of 2 dispatches" in capsys.readouterr().out
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))
