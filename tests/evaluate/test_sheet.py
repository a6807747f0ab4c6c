"""Rows a picture and rows a set, which come out the same whether or not the work was stopped."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.evaluate import sheet
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate
from restore_jax.evaluate.sheet import Column, mean, measure, merged
from restore_jax.methods.regression import Cubic
from restore_jax.metrics.niqe import Niqe

NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}
PROTOCOL = Protocol({"name": "data.sets.embedded.Embedded", "split": "heldout"}, NOISE, multiple=2)
COLUMN = Column("heldout", "noise", PROTOCOL)


@pytest.fixture(autouse=True)
def _without_networks(monkeypatch):
    """The perceptual distance compiles for seconds a size: its own tests hold it to its laws."""
    monkeypatch.setattr(sheet, "_perceptual", lambda x_hat, x: float(jnp.mean(jnp.abs(x_hat - x))))
    monkeypatch.setattr(sheet, "_niqe", lambda x_hat: None)


class Counted:
    """Answers y, and counts; stops at a picture."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = 0, stop_at
        self.scale, self.draws, self.nfe = 1, 0, 3
        self.params = {"kernel": jnp.ones((2, 5))}

    def __call__(self, key, obs):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return np.asarray(obs.y)


def test_the_figures_are_those_of_evaluate(tmp_path):
    (row,) = measure(Cubic(1), "cubic", [COLUMN], tmp_path)
    expected = evaluate(Cubic(1), PROTOCOL)[-1]
    for name in ("psnr", "ssim", "protocol"):
        assert row[name] == expected[name]
    assert (row["count"], row["params"], row["nfe"], row["niqe"]) == (3, 0, 0, None)


def test_it_goes_on_where_it_was_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measure(Counted(stop_at=4), "y", [COLUMN], tmp_path)
    journal = tmp_path / "pictures.jsonl"
    done = journal.read_text()
    assert len(done.splitlines()) == 1
    journal.write_text(done + '{"model": "y", "set": "hel')  # torn by what stopped it
    said = []
    again = Counted()
    (row,) = measure(again, "y", [COLUMN], tmp_path, lambda: said.append(1))
    assert again.calls == 4, "two pictures, twice each: their sizes were new to this restorer"
    assert len(said) == 3
    assert journal.read_text().startswith(done)
    assert len(journal.read_text().splitlines()) == 3
    (whole,) = measure(Counted(), "y", [COLUMN], tmp_path / "whole")
    assert {k: v for k, v in row.items() if k != "s_per_mp"} == {k: v for k, v in whole.items() if k != "s_per_mp"}
    assert (row["params"], row["bytes"], row["nfe"]) == (10, 40, 3)


def test_files_say_what_was_returned(tmp_path):
    rows = measure(Counted(), "y", [COLUMN], tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == rows
    measure(Cubic(1), "cubic", [COLUMN], tmp_path)
    assert [r["model"] for r in json.loads((tmp_path / "results.json").read_text())["rows"]] == ["y", "cubic"]
    with (tmp_path / "pictures.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["picture"] for line in lines] == 2 * ["chelsea", "coffee", "rocket"]
    assert abs(np.mean([float(line["psnr"]) for line in lines[:3]]) - rows[0]["psnr"]) < 1e-9
    assert not list(tmp_path.glob(".*"))


def test_means_are_over_all_pictures_or_none():
    fields = dict.fromkeys(("model", "set", "degradation", "nfe", "params", "bytes"), 0)
    fields |= dict.fromkeys(("protocol", "pictures", "weights", "commit"), "")
    rows = [
        fields | {"psnr": p, "ssim": 0.5, "perceptual": 1.0, "niqe": n, "seconds": s, "megapixels": m}
        for p, n, s, m in ((20.0, 4.0, 1.0, 1.0), (30.0, None, 1.0, 3.0))
    ]
    row = mean(rows)
    assert (row["psnr"], row["niqe"], row["s_per_mp"], row["count"]) == (25.0, None, 0.5, 2)


def test_new_rows_replace_old_ones():
    row = {"model": "a", "set": "s", "degradation": "d", "psnr": 1}
    other = row | {"set": "t"}
    assert merged([row, other], [row | {"psnr": 2}]) == [row | {"psnr": 2}, other]


def test_niqe_of_a_picture_is_that_of_its_whole_patches(monkeypatch):
    monkeypatch.undo()
    x = jnp.asarray(np.random.default_rng(0).random((200, 230, 3)), jnp.float32)
    assert abs(sheet._niqe(x) - float(Niqe()(x))) < 1e-2  # float32, through a solve
    assert sheet._niqe(x[:100]) is None


def test_an_answer_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does its scale fit"):
        measure(Cubic(2), "x2", [COLUMN], tmp_path)


def test_only_who_is_told_gets_the_operator(tmp_path):
    given = []

    class Listens:
        scale, draws, nfe = 1, 0, 1

        def __call__(self, key, obs):
            given.append((obs.operator is not None, obs.y.shape[0]))
            return obs.y

    mask = {"name": "degrade.mask.RandomPixels", "keep": 0.5}
    protocol = Protocol(PROTOCOL.photographs, mask, multiple=8)
    for told in (False, True):
        given.clear()
        measure(Listens(), "net", [Column("heldout", "missing", protocol, told)], tmp_path / str(told))
        assert set(given) == {(told, 1)}
