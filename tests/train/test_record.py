"""What a run was made with and how it ended, and the table of runs that is read from it."""

import json
import subprocess

import jax
import pytest

from restore_jax import cpu
from restore_jax.train import record
from restore_jax.train.record import Record, beside, commit, difference, environment, is_run, runs, summary, table


def content(folder):
    return json.loads((folder / "run.json").read_text())


def make(folder, label="a", rate=1e-3, rows=((8, 2.0, 20.0), (16, 1.0, 25.0), (32, 1.5, 24.0)), **config):
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"label": label, "images": 32, "batch_size": 8, "optim": {"name": "AdamW", "rate": rate}, **config}
    (folder / "config.json").write_text(json.dumps(whole))
    lines = [json.dumps({"step": i // 8, "images": i, "loss": a, "heldout_psnr": b}) + "\n" for i, a, b in rows]
    (folder / "table.jsonl").write_text("".join(lines))
    return folder


def test_it_says_what_a_run_was_made_with(tmp_path):
    said = environment()
    assert {"jax", "flax", "optax", "orbax-checkpoint", "grain", "restore_jax"} <= set(said["versions"])
    assert said["devices"] == f"{jax.device_count()} cpu ({cpu.cores()} core{'s' * (cpu.cores() > 1)}, {cpu.model()})"
    assert "host" not in json.dumps(list(said)).lower()


def test_the_clock_counts_what_was_done_since_it_began_over_all_starts(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(record.time, "monotonic", lambda: now)
    with Record(tmp_path) as one:
        one.start()
        now = 150.0  # compiled
        one.begin(8)
        now = 152.0
        one.reached(28)
    with Record(tmp_path) as two:
        two.start()
        two.begin(30)
        now = 155.0
        two.reached(40)
    said = content(tmp_path)
    assert (said["images"], said["seconds"], said["state"]) == (30, 5.0, "complete")
    assert len(said["starts"]) == 2
    assert summary(make(tmp_path))["images_per_s"] == 6.0


@pytest.mark.parametrize(
    ("error", "state"),
    [(SystemExit(0), "interrupted"), (KeyboardInterrupt(), "interrupted"), (ValueError("too much"), "failed")],
)
def test_it_says_how_a_run_ended(tmp_path, error, state):
    def ends():
        with Record(tmp_path) as one:
            one.start()
            assert content(tmp_path)["state"] == "running"
            assert summary(make(tmp_path))["state"] == "running"
            raise error

    with pytest.raises(type(error)):
        ends()
    assert content(tmp_path)["state"] == state
    if state == "failed":
        assert content(tmp_path)["error"] == "ValueError: too much"


def test_a_run_that_was_killed_does_not_run(tmp_path):
    """Its file says running, and nobody holds its lock."""
    make(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"state": "running"}))
    assert summary(tmp_path)["state"] == "interrupted"


def test_two_do_not_train_in_one_workdir(tmp_path):
    with Record(tmp_path) as one:
        one.start()
        with pytest.raises(ValueError, match="is being trained in by another process"), Record(tmp_path):
            pass
        assert len(content(tmp_path)["starts"]) == 1
    with Record(tmp_path):
        pass
    assert content(tmp_path)["state"] == "complete"


def test_a_start_that_was_refused_and_a_second_process_leave_nothing(tmp_path):
    with Record(tmp_path / "a"):
        pass
    with Record(tmp_path / "b", writes=False) as second:
        second.start()
        second.begin(1)
        second.reached(2)
    assert not list(tmp_path.rglob("run.json"))


def test_the_commit_is_that_of_the_checkout_that_tracks_the_folder(tmp_path):
    assert commit(tmp_path) == {}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file.py").write_text("1")
    assert commit(tmp_path) == {}
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    said = commit(tmp_path)
    assert len(said["commit"]) == 40
    assert said["dirty"] is False
    (tmp_path / "file.py").write_text("2")
    assert commit(tmp_path) == said | {"dirty": True}


def test_runs_are_found_below_a_folder_and_summed_up(tmp_path):
    make(tmp_path / "x" / "one")
    make(tmp_path / "two", "b", rows=[(8, 2.0, 20.0)])
    (tmp_path / "two" / "run.json").write_text(
        json.dumps({"state": "failed", "images": 8, "seconds": 2.0, "starts": [{"commit": "a" * 40, "dirty": True}]})
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")  # an imported model is no run
    two, one = runs(tmp_path)
    where = {"path": str(tmp_path / "x" / "one"), "label": "a", "commit": None, "images_per_s": None}
    assert one == {**where, "state": "complete", "images": 32, "of": 32, "loss": 1.5, "best": 25.0}
    where = {"path": str(tmp_path / "two"), "label": "b", "commit": "aaaaaaaaaa+", "images_per_s": 4.0}
    assert two == {**where, "state": "failed", "images": 8, "of": 32, "loss": 2.0, "best": 20.0}
    assert runs(tmp_path, "loss", highest=False)[1]["best"] == 1.0
    assert not is_run(tmp_path / "model")


def test_two_runs_side_by_side(tmp_path):
    a, b = make(tmp_path / "a"), make(tmp_path / "b", rate=2e-3, rows=[(8, 3.0, 19.0)], ema=None)
    assert difference(a, b) == {"optim.rate": (1e-3, 2e-3)}
    assert {"name": "loss", "a": 1.5, "b": 3.0} in beside(a, b)


def test_files_cut_off_or_absent_are_no_reason_to_fall(tmp_path):
    make(tmp_path, rows=[])
    (tmp_path / "run.json").write_text('{"sta')
    (tmp_path / "table.jsonl").write_text('{"step": 1')
    row = summary(tmp_path)
    assert (row["state"], row["images"], row["loss"], row["best"]) == ("interrupted", 0, None, None)


def test_a_line_that_is_being_written_is_left_for_later(tmp_path):
    (tmp_path / "table.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "ima')
    assert table(tmp_path) == [{"step": 1, "loss": 2.0}]
    assert table(tmp_path / "absent") == []
