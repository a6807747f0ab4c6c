"""The launchers: they are shell that parses, and the local one starts processes that find each other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "experiments" / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))


def shell(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = ["bash", str(LAUNCH / script), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_it_parses_and_may_be_run(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert os.access(script, os.X_OK)


def test_local_gives_each_its_number_and_shows_the_first(tmp_path):
    says = (
        "import os; print(*(os.environ['RESTORE_JAX_' + n] for n in ('PROCESS', 'PROCESSES')), os.environ['XLA_FLAGS'])"
    )
    done = shell("local.sh", "3", "2", sys.executable, "-c", says, LOGS=str(tmp_path), XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0 3  --xla_force_host_platform_device_count=2"
    for p in (1, 2):
        assert (tmp_path / f"process-{p}.log").read_text().startswith(f"{p} 3 ")


def test_one_that_fails_ends_all(tmp_path):
    fails = "import os, sys, time; sys.exit(3) if os.environ['RESTORE_JAX_PROCESS'] == '1' else time.sleep(200)"
    done = shell("local.sh", "2", "1", sys.executable, "-c", fails, LOGS=str(tmp_path))
    assert done.returncode != 0
    assert "A process ended with 3" in done.stderr


def test_local_says_how_it_is_called():
    done = shell("local.sh", "2")
    assert done.returncode == 2
    assert "PROCESSES DEVICES_EACH COMMAND" in done.stderr


def test_xpk_says_what_it_would_run():
    needed = {"CLUSTER": "c", "PROJECT": "p", "ZONE": "z", "IMAGE": "i", "DRY": "1"}
    done = shell("xpk.sh", "name", "--config", "a b.py", "--workdir", "gs://b/r", **needed, TYPE="v6e-16", SLICES="2")
    assert done.returncode == 0, done.stderr
    assert "--tpu-type=v6e-16 --num-slices=2" in done.stdout
    assert "--config.parallel.name" in done.stdout
    assert (
        "--device-type=h100-80gb-8 --num-nodes=1"
        in shell("xpk.sh", "name", "--workdir", "w", **needed, TYPE="h100-80gb-8").stdout
    )
    done = shell("xpk.sh", "name", "--workdir", "w", **{**needed, "IMAGE": ""})
    assert done.returncode == 2
    assert "set IMAGE" in done.stderr


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="a real Slurm")
def test_slurm_hands_everything_to_srun(tmp_path):
    """A stand-in for srun prints what it is asked to run."""
    (tmp_path / "srun").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    done = shell("slurm.sh", "--config", "c.py", PATH=f"{tmp_path}:{os.environ['PATH']}", PYTHON="python")
    assert done.stdout.strip() == "--kill-on-bad-exit=1 python -m experiments.train --config c.py"


@pytest.mark.soak
def test_two_local_processes_train_what_one_does(tmp_path):
    """The page's command, on a run of seconds."""
    from tests.experiments.test_launchers import CONFIG

    (tmp_path / "one.py").write_text(CONFIG)
    mesh = "tiny_config(parallel={'name': 'train.parallel.Mesh', 'fsdp': 2}, "
    (tmp_path / "two.py").write_text(CONFIG.replace("tiny_config(heldout", mesh + "heldout"))
    train = [sys.executable, "-m", "experiments.train"]
    two = (f"--config={tmp_path / 'two.py'}", f"--workdir={tmp_path / 'two'}")
    done = shell("local.sh", "2", "2", *train, *two, LOGS=str(tmp_path))
    assert done.returncode == 0, done.stderr + done.stdout + (tmp_path / "process-1.log").read_text()
    one = (f"--config={tmp_path / 'one.py'}", f"--workdir={tmp_path / 'one'}")
    alone = subprocess.run([*train, *one], cwd=ROOT, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr

    def losses(run: str) -> list[float]:
        rows = map(json.loads, (tmp_path / run / "table.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if "loss" in row]

    assert len(losses("two")) == len(losses("one")) > 0
    # AdamW with its own epsilon: rounding moves near-zero gradients at the full rate of 1e-3 (benchmarks.parallel).
    assert losses("two") == pytest.approx(losses("one"), rel=1e-3)


@pytest.mark.soak
def test_two_local_processes_go_back_together(tmp_path):
    """The alarm rings at step 5: both read checkpoint 4 again, and end at half the rate with nobody left waiting."""
    config = """
from ml_collections import ConfigDict
from tests.train.tiny import tiny_config

def get_config():
    heldout = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
    optim = {"name": "train.optim.AdamW", "rate": 1e-3, "decay": {"name": "train.optim.Constant"}}
    alarm = {"name": "tests.train.tiny.Alarm", "at": 5, "above": 0.75e-3}
    mesh = {"name": "train.parallel.Mesh", "fsdp": 2}
    return ConfigDict(tiny_config(heldout_set=heldout, optim=optim, guard=alarm, parallel=mesh))
"""
    (tmp_path / "alarmed.py").write_text(config)
    train = [sys.executable, "-m", "experiments.train", f"--config={tmp_path / 'alarmed.py'}"]
    done = shell("local.sh", "2", "2", *train, f"--workdir={tmp_path / 'run'}", LOGS=str(tmp_path))
    assert done.returncode == 0, done.stderr + done.stdout + (tmp_path / "process-1.log").read_text()
    assert "back to step 4, 1 of 1 times, and on at 0.5 times the rate" in done.stdout
    (row,) = map(json.loads, (tmp_path / "run" / "rollbacks.jsonl").read_text().splitlines())
    assert (row["found"], row["to"]) == (5, 4)
    rows = map(json.loads, (tmp_path / "run" / "table.jsonl").read_text().splitlines())
    table = [row for row in rows if "loss" in row]
    assert [row["step"] for row in table] == list(range(1, 9))
    assert [row["rate"] for row in table] == pytest.approx([1e-3] * 4 + [5e-4] * 4)
