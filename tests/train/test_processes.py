"""Processes of one run: what start refuses, who writes, and what two of them tell each other."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from restore_jax.train import processes

ROOT = Path(__file__).parents[2]
TALK = """
import sys
import jax, numpy as np
from restore_jax.train import processes

processes.start()
processes.start()  # joined already
p = jax.process_index()
assert (jax.process_count(), jax.device_count()) == (2, 4)
assert processes.is_writer() == (p == 0)
assert processes.agree(p == 1) and not processes.agree(False)
whole = np.random.default_rng(0).normal(size=(5, 2, 3))  # float64, and 5 do not divide by 2
mine = processes.share(5)
np.testing.assert_array_equal(processes.gathered(whole[mine.start : mine.stop]), whole)
one = processes.gathered(np.arange(3, dtype=np.int64)[: 3 * p])  # nothing from process 0
np.testing.assert_array_equal(one, np.arange(3))
try:
    processes.gathered(np.zeros((1, 2 + p)))
except ValueError as error:
    assert "one type and shape" in str(error), error
else:
    raise AssertionError("different shapes went through")
try:
    processes.start("127.0.0.1:1", 2, 5)
except ValueError as error:
    assert "index from 0 to below it, not 2 and 5" in str(error)
print("said", p)
"""


def started(script: str, devices: int = 2) -> list[subprocess.Popen]:
    """Two processes of a run, on a port of their own."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    shared = {
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        processes.COORDINATOR: f"127.0.0.1:{port}",
        processes.PROCESSES: "2",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | shared | {processes.PROCESS: str(p)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for p in range(2)
    ]


def test_two_processes_agree_and_gather():
    running = started(TALK)
    try:
        for p, one in enumerate(running):
            out, error = one.communicate(timeout=240)
            assert one.returncode == 0, error
            assert f"said {p}" in out
    finally:
        for one in running:
            one.kill()


class TestAlone:
    @pytest.fixture(autouse=True)
    def bare(self, monkeypatch):
        for name in (processes.COORDINATOR, processes.PROCESSES, processes.PROCESS):
            monkeypatch.delenv(name, raising=False)

    def test_nothing_happens(self):
        processes.start()
        processes.start(count=1, index=0)
        assert processes.is_writer()
        assert processes.agree(True)
        assert not processes.agree(False)
        rows = np.arange(4)
        assert processes.gathered(rows) is rows
        assert processes.share(7) == range(7)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"coordinator": "host:1"}, "count must be 1 or above and index from 0 to below it, not 0 and -1"),
            ({"count": 2}, "not 2 and -1"),
            ({"count": 2, "index": 2}, "not 2 and 2"),
            ({"count": 2, "index": 1}, "processes.start.coordinator must be the HOST:PORT of process 0, not ''"),
            ({"coordinator": "host", "count": 2, "index": 1}, "HOST:PORT of process 0, not 'host'"),
        ],
    )
    def test_half_a_run_is_refused(self, given, said):
        with pytest.raises(ValueError, match=said):
            processes.start(**given)

    def test_the_environment_is_read(self, monkeypatch):
        monkeypatch.setenv(processes.PROCESSES, "many")
        with pytest.raises(ValueError, match="RESTORE_JAX_PROCESSES must be a whole number from 0, not 'many'"):
            processes.start()

    def test_too_late(self):
        import jax

        jax.devices()
        with pytest.raises(ValueError, match="must come before the first computation"):
            processes.start("127.0.0.1:1", 2, 1)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ""),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a[1-2]", "SLURM_NTASKS": "2"}, "slurm"),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a1", "SLURM_NTASKS": "1"}, ""),
        ({"SLURM_NTASKS": "4"}, ""),  # a batch script that has not called srun
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://h", "OMPI_COMM_WORLD_SIZE": "2"}, "open mpi"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, ""),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),  # a notebook in a pod
    ],
)
def test_clusters_by_their_environment(environment, found):
    assert processes.cluster(environment) == found
