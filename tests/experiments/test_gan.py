"""The parts of the GAN's experiment that need no training: the watch, the table, the plot."""

import json
import time

import pytest

from experiments.gan.__main__ import MEASURES, Collapsed, plot, table, watched
from restore_jax.train.guard import Guard
from restore_jax.train.stop import Interrupted


def logged(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent


def rows(n, **values):
    good = {"balance": 0.6, "spread": 1.0, "charbonnier": 0.02, "real": 0.4, "fake": -0.4}
    return [{"step": k, "images": 8 * k} | good | values for k in range(1, n + 1)]


def test_a_run_that_collapses_is_stopped_while_it_trains(tmp_path):
    page = logged(tmp_path / "gan-0" / "table.jsonl", rows(3, balance=0.001))
    begun = time.monotonic()
    says = r"gan-0: balance is 0\.001 and was for 3 rows"
    with pytest.raises(Collapsed, match=says), watched(page, Guard(rows=3), every_seconds=0.01):
        time.sleep(30)
    assert time.monotonic() - begun < 20


def test_one_that_goes_well_is_let_be_and_one_that_was_asked_to_stop_says_so(tmp_path):
    page = logged(tmp_path / "gan-0" / "table.jsonl", rows(3))
    with watched(page, Guard(rows=3), every_seconds=0.01):
        time.sleep(0.05)
    with pytest.raises(Interrupted), watched(page, Guard(rows=3)):
        raise Interrupted("stopped")


def test_a_finished_run_that_had_collapsed_is_found(tmp_path):
    page = logged(tmp_path / "gan-0" / "table.jsonl", rows(3, spread=0.0))
    with pytest.raises(Collapsed, match="contrast"), watched(page, Guard(rows=3)):
        pass


def test_the_table_has_a_line_for_each_net():
    figures = dict.fromkeys(MEASURES, 0.5)
    row = {"seed": 0, "regression": figures, "gan": figures, "between": [{"share": 0.5, **figures}]}
    text = table([row], figures)
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:]] == [
        "bicubic",
        "regression, seed 0",
        "0.50 of the way",
        "GAN, seed 0",
    ]


def test_the_balance_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    logged(tmp_path / "gan-0" / "table.jsonl", rows(4))
    plot(tmp_path, [0])
    assert (tmp_path / "balance.png").stat().st_size > 10_000
