"""Trackers are handed numbers over images, go on in the same log, and are absent with a command to install them.

TensorBoard is read back; W&B and MLflow run offline where they are installed, and as a stand-in that notes its calls
everywhere.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from restore_jax.train.trackers import Mlflow, OpenTracker, TensorBoard, Tracker, Wandb

GRID = np.zeros((4, 6, 3), np.float32)
CONFIG = {"label": "tiny", "images": 32}


@pytest.mark.parametrize("tracker", [TensorBoard(), Wandb(), Mlflow()])
def test_all_are_trackers(tracker):
    assert isinstance(tracker, Tracker)


def scalars(folder):
    """The scalars of event files, by tensorboardX's own record format: length, its check, bytes, their check."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            at += 16 + length
    return found


def test_tensorboard_has_the_numbers_over_images(tmp_path):
    log = TensorBoard().open(tmp_path, "a", CONFIG, 0)
    assert isinstance(log, OpenTracker)
    log.scalars(8, {"loss": 0.5})
    log.picture(8, "grid", GRID)
    log.rewind(4)
    log.scalars(6, {"loss": 0.25})
    log.close()
    said = scalars(tmp_path / "tensorboard")
    assert (8, "loss", 0.5) in said
    assert (6, "loss", 0.25) in said
    assert any(tag == "grid" and step == 8 for step, tag, _ in said)


@pytest.mark.parametrize(("name", "tracker"), [("wandb", Wandb()), ("mlflow", Mlflow())])
def test_one_that_is_not_installed_is_named_with_the_command(tmp_path, monkeypatch, name, tracker):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'pip install "restore-jax\[{name}\]"'):
        tracker.open(tmp_path, "a", CONFIG, 0)


def test_a_mode_that_wandb_does_not_have():
    with pytest.raises(ValueError, match=r"Wandb\.mode must be online, offline or disabled, not 'on'"):
        Wandb(mode="on")


class Notes:
    """Notes every call of any method."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*args, **options):
            self.calls.append((name, args, options))
            return SimpleNamespace(experiment_id="7", info=SimpleNamespace(run_id="run-1"))

        return call


def test_wandb_goes_on_in_the_same_run_over_images(tmp_path, monkeypatch):
    run, inits = Notes(), []
    run.id = "abc"

    def init(**options):
        inits.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Image=lambda grid: ("image", grid.shape)))
    for _ in range(2):
        log = Wandb(project="p", mode="offline").open(tmp_path, "tiny", CONFIG, 0)
    log.scalars(8, {"loss": 0.5})
    log.picture(8, "grid", GRID)
    log.rewind(4)
    log.close()
    assert [one["id"] for one in inits] == [None, "abc"]
    fixed = {"project": "p", "mode": "offline", "config": CONFIG, "resume": "allow"}
    assert all(fixed.items() <= one.items() for one in inits)
    logged = [args[0] for name, args, _ in run.calls if name == "log"]
    assert logged[0] == {"images": 8, "loss": 0.5}
    assert logged[1] == {"images": 8, "grid": ("image", (4, 6, 3))}
    assert run.calls[-1][0] == "finish"


def test_mlflow_goes_on_in_the_same_run_over_images(tmp_path, monkeypatch):
    client = Notes()
    entities = SimpleNamespace(Metric=lambda name, value, time, step: (name, value, step))
    fake = SimpleNamespace(MlflowClient=lambda tracking_uri: client, entities=entities)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    for _ in range(2):
        log = Mlflow(experiment="e").open(tmp_path, "tiny", CONFIG, 0)
    log.scalars(8, {"loss": 0.5})
    log.picture(8, "grid", GRID)
    log.close()
    names = [name for name, _, _ in client.calls]
    assert names.count("create_run") == 1
    assert ("log_batch", ("run-1",), {"metrics": [("loss", 0.5, 8)]}) in client.calls
    assert ("log_dict", ("run-1", CONFIG, "config.json"), {}) in client.calls
    assert names[-2:] == ["log_image", "set_terminated"]


@pytest.mark.soak
def test_mlflow_itself(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason='pip install "restore-jax[mlflow]"')
    monkeypatch.chdir(tmp_path)  # a database keeps pictures in ./mlruns
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = Mlflow(experiment="e", uri=uri)
    for images in (8, 16):
        log = tracker.open(tmp_path, "tiny", CONFIG, 0)
        log.scalars(images, {"loss": images / 16})
        log.close()
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(8, 0.5), (16, 1.0)]
    assert run.info.status == "FINISHED"


@pytest.mark.soak
def test_wandb_itself(tmp_path):
    pytest.importorskip("wandb", reason='pip install "restore-jax[wandb]"')
    tracker = Wandb(mode="offline")
    for images in (8, 16):
        log = tracker.open(tmp_path, "tiny", CONFIG, 0)
        log.scalars(images, {"loss": 0.5})
        log.picture(images, "grid", GRID)
        log.close()
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
    assert (tmp_path / "wandb.id").read_text()
