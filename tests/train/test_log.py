"""The table survives a kill: rows after the checkpoint are taken back, a half-written row is dropped; so for a run that
goes back. What a tracker does cannot end a run."""

import json
from dataclasses import dataclass

import numpy as np

from restore_jax.train.log import RunLog


def test_rows_after_the_start_are_taken_back(tmp_path):
    with RunLog(tmp_path, "a", 100, 10) as log:
        for step in (1, 2, 3):
            log.tick()
            log.row(step, {"loss": step / 2})
    with open(tmp_path / "table.jsonl", "a") as table:
        table.write('{"step": 4, "lo')
    with RunLog(tmp_path, "a", 100, 10, start_step=2) as log:
        log.row(3, {"loss": 9.0})
        log.pictures(3, "grid", np.zeros((4, 4, 3)))
        log.say("a line")
    table = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert table == [
        {"step": 1, "images": 10, "loss": 0.5},
        {"step": 2, "images": 20, "loss": 1.0},
        {"step": 3, "images": 30, "loss": 9.0},
    ]


def test_a_run_that_goes_back_takes_its_rows_and_pictures_back(tmp_path):
    with RunLog(tmp_path, "a", 100, 10) as log:
        for step in (1, 2, 3, 4):
            log.row(step, {"loss": 1.0})
            log.pictures(step, "grid", np.full((4, 4, 3), np.nan))
        assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["20.png", "30.png", "40.png"]
        log.rewind(2)
        log.row(3, {"loss": 2.0})
        assert [row["loss"] for row in log.rows] == [1.0, 1.0, 2.0]
    table = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert table == log.rows
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["20.png"]


class Fails:
    """Takes one row and then falls."""

    rows = 0

    def scalars(self, images, values):
        self.rows += 1
        if self.rows > 1:
            raise ConnectionError("the network is gone")

    def close(self):
        raise AssertionError("it was left out before")


@dataclass(frozen=True)
class Flaky:
    def open(self, workdir, label, config, images):
        return Fails()


def test_a_tracker_that_falls_is_named_and_left_out_and_the_table_goes_on(tmp_path, capsys):
    with RunLog(tmp_path, "a", 100, 10, trackers=(Flaky(),)) as log:
        for step in (1, 2, 3):
            log.row(step, {"loss": 1.0})
    assert "tracker Fails failed and is left out from here: the network is gone" in capsys.readouterr().out
    assert len((tmp_path / "table.jsonl").read_text().splitlines()) == 3


def test_only_the_writer_leaves_anything(tmp_path):
    with RunLog(tmp_path, "a", 100, 10, trackers=(Flaky(),), writes=False) as log:
        for step in (1, 2):
            log.row(step, {"loss": 1.0})
            log.pictures(step, "grid", np.zeros((4, 4, 3)))
    assert len(log.rows) == 2
    assert not list(tmp_path.iterdir())


def test_of_many_lines_the_first_are_said(tmp_path, capsys):
    with RunLog(tmp_path, "a", 100, 10, trackers=()) as log:
        log.say_some(f"line {k}" for k in range(5))
    out = capsys.readouterr().out
    assert "line 2" in out
    assert "line 3" not in out
    assert "and 2 more" in out
