"""The page says what the cards say, and the curves are theirs."""

import json

import numpy as np
import pytest

from benchmarks.zoo import paced
from experiments import zoo as page_of
from restore_jax import zoo
from restore_jax.build import build
from restore_jax.evaluate.run import weights_hash
from restore_jax.infer.load import load
from restore_jax.methods.model import Model, read_model, write_model
from tests.zoo.test_zoo import METHOD

SAID = {"images": "64000", "crop_px": "80", "seconds": "1234.4", "devices": "1 abacus", "licence": "CC0-1.0"} | {
    "start": "c",
    "start_images": "8000",
}


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        model = Model(
            METHOD,
            {"x": {"kernel": np.zeros((2, 2), np.float32)}},
            provenance=SAID | {"credits": "the sun", "config": "c0ffee"},
            task="denoise",
            degrade={"name": "degrade.noise.Gaussian", "std": 0.1},
            curve=((32_000, 0.5), (64_000, 0.25)),
        )
        write_model(tmp_path / "models" / name, model)
    return tmp_path / "models"


def test_a_row_a_model(folder, tmp_path):
    assert page_of.main(["--folder", str(folder)], tmp_path) == 0
    text = (tmp_path / "docs" / "zoo.md").read_text()
    assert "| a | denoise | 1 | DnCNN | 4 | 0.00 | 64,000 | 80 | 1,234 | c, 8,000 | 1 abacus | CC0-1.0 |" in text
    assert text.count("- the sun") == 1
    budget = json.loads((tmp_path / "results" / "budget.json").read_text())
    assert budget["b"]["curve"] == [[32_000, 0.5], [64_000, 0.25]]
    assert budget["b"]["seconds"] == "1234.4"
    assert (tmp_path / "docs" / "pictures" / "zoo_curves.svg").read_text().count("<circle") == 4


def test_figures_of_the_same_weights_go_to_the_cards(folder, tmp_path):
    """Rows of other weights, or of another model, say nothing of these."""
    row = {"set": "Set5", "degradation": "noise-25", "perceptual": None}
    weights = weights_hash(load(folder / "a"))
    rows = [
        {"model": "a", "weights": weights, "psnr": 30.123456, **row},
        {"model": "b", "weights": "0", "psnr": 40.0, **row},
    ]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "zoo.json").write_text(json.dumps({"rows": rows}))
    assert page_of.main(["--folder", str(folder)], tmp_path) == 0
    assert read_model(folder / "a").figures == {"Set5 noise-25, PSNR dB": 30.1235}
    assert read_model(folder / "b").figures == {}


@pytest.mark.parametrize(
    ("sampler", "names"),
    [
        ({"name": "diffusion.sampler.Consistency", "sigmas": (0.0,)}, ["net"]),
        ({"name": "diffusion.sampler.Consistency", "sigmas": (0.5, 0.05)}, ["net", "net (1)"]),
        (
            {
                "name": "diffusion.sampler.Ode",
                "step": {"name": "diffusion.solver.Heun"},
                "schedule": {"name": "diffusion.schedule.Karras"},
                "n_steps": 9,
            },
            ["net", "net (3)", "net (7)", "net (19)"],
        ),
        (
            {"name": "diffusion.bridge.Bridge", "bridge": {"name": "diffusion.bridge.ResidualShift"}, "n_steps": 4},
            ["net", "net (2)", "net (10)"],
        ),
        (
            {"name": "diffusion.bridge.Bridge", "bridge": {"name": "diffusion.bridge.ResidualShift"}, "n_steps": 1},
            ["net"],
        ),
    ],
)
def test_what_takes_steps_is_measured_in_other_numbers_too(sampler, names):
    found = list(paced("net", build({**METHOD, "sampler": sampler}).restorer({})))
    assert [name for name, _ in found] == names
    assert [restorer.nfe for _, restorer in found[1:]] == [int(name[5:-1]) for name in names[1:]]


def test_a_card_without_a_field_is_named(folder, tmp_path, capsys):
    card = json.loads((folder / "a" / "model.json").read_text())
    del card["provenance"]["licence"]
    (folder / "a" / "model.json").write_text(json.dumps(card))
    assert page_of.main(["--folder", str(folder)], tmp_path) == 1
    assert "licence" in capsys.readouterr().err


def test_the_page_is_that_of_the_cards(tmp_path):
    if not zoo.names():
        pytest.skip("no model is shipped yet")
    assert page_of.main([], tmp_path) == 0
    for path in (page_of.PAGE, page_of.BUDGET, page_of.CURVES):
        assert (tmp_path / path).read_text() == (page_of.ROOT / path).read_text(), f"python -m experiments.zoo: {path}"
