"""The table survives a kill: rows after the checkpoint are taken back, a half-written row is dropped."""

import json

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
