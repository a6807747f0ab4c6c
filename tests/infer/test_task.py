"""Tasks: damage says which, a folder of models has them, and what stands around a model."""

import json
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax import zoo
from restore_jax.core import Observation
from restore_jax.infer.task import (
    Damage,
    Fill,
    Finish,
    NoModel,
    Rows,
    Tasks,
    model_for,
    models_in,
    restore_rows,
    shared_side,
    stamp,
    task_of,
)
from restore_jax.infer.tile import Tile


class Bright:
    """Answers 1 everywhere."""

    def __init__(self, scale=1, draws=0, halo_px=0):
        self.scale, self.draws, self.halo_px = scale, draws, halo_px

    def __call__(self, key, obs):
        b, h, w, c = obs.y.shape
        return jnp.ones((b, h * self.scale, w * self.scale, c))


class Picture:
    """What a photograph is to a source."""

    def __init__(self, x):
        self.x, (self.height, self.width, _) = x, x.shape

    def rows(self, top, bottom):
        return self.x[top:bottom]


def folder(path, **cards):
    for name, card in cards.items():
        (path / name).mkdir(parents=True)
        (path / name / "model.json").write_text(json.dumps(card))
    return path


def test_a_photographs_damage_names_its_tasks():
    assert Damage(0.0, 0.6, 1.0).tasks == ()
    assert Damage(0.1, 0.6, 1.0).tasks == ("denoise", "photo")
    assert Damage(0.1, 3.0, 2.0).tasks == ("photo", "jpeg", "denoise", "deblur")
    assert str(Damage(10 / 255, 1.0, 1.5, 30.0)) == "noise 10.0/255, blur 1.0 px, blockiness 1.50, JPEG quality 30"


def test_noise_is_found_in_pixels():
    grey = np.full((64, 64, 3), 0.5, np.float32)
    noisy = grey + 0.1 * np.random.default_rng(0).standard_normal(grey.shape, np.float32)
    assert Damage.of(grey).tasks in ((), ("deblur", "photo"))  # a flat picture has no edge that could be sharp
    assert "denoise" in Damage.of(noisy).tasks


def test_models_are_found_by_task_or_scale(tmp_path):
    models = folder(tmp_path, b={"task": "denoise"}, a={"task": "denoise"}, c={"scale": 4}, d={"scale": 1}, e={})
    assert models_in(models) == {"denoise": models / "a", "sr4": models / "c"}
    assert model_for("sr4", models) == models / "c"
    assert models_in(tmp_path / "nowhere") == {}
    with pytest.raises(NoModel, match=r"no model for the task jpeg.*denoise, sr4.*restore-jax import"):
        model_for("jpeg", models)
    assert task_of({"task": "jpeg", "scale": 4}) == "jpeg"


def test_a_damaged_card_is_said(tmp_path):
    folder(tmp_path, a={})
    (tmp_path / "a" / "model.json").write_text("{")
    with pytest.raises(NoModel, match="damaged"):
        models_in(tmp_path)


def test_models_have_stamps(tmp_path):
    folder(tmp_path, a={"params_sha256": "abc"})
    (tmp_path / "run").mkdir()
    assert (stamp(tmp_path / "a"), stamp(tmp_path / "run")) == ("abc", "0")
    (tmp_path / "run" / "state").write_text("1")
    assert stamp(tmp_path / "run") != "0"


def test_auto_takes_the_first_damage_that_has_a_model(tmp_path):
    tasks = Tasks(models=folder(tmp_path / "m", d={"task": "denoise"}, s={"scale": 4}))
    assert set(tasks.found) == {"denoise"}  # auto never enlarges
    assert tasks.chosen(Damage(0.1, 0.6, 2.0)) == "denoise"
    assert tasks.chosen(Damage(0.0, 0.6, 2.0)) is None
    assert tasks.chosen(None) is None
    assert Tasks(model="anything").chosen(None) == "auto"
    with pytest.raises(NoModel, match="auto could choose"):
        _ = Tasks(models=tmp_path / "nowhere").found
    with pytest.raises(ValueError, match=r"Tasks\.task"):
        Tasks(task="paint")


def test_a_task_gets_the_scale_it_asked_for(tmp_path):
    models = folder(tmp_path, a={"task": "denoise"}, b={"task": "jpeg", "channels": 1})
    bright = partial(Tasks, load=lambda path: Bright(scale=2))
    with pytest.raises(NoModel, match="enlarges by 2, and denoise by 1"):
        bright("denoise", models=models).tile("denoise")
    with pytest.raises(NoModel, match="grey"):
        bright("jpeg", models=models).tile("jpeg")
    assert bright("auto", model=models / "a").tile("auto").scale == 2
    shared = bright("auto", model=models / "a", short_px=300).tile("auto")
    assert (shared.tile_px, shared.batch) == (300, 1)


def test_a_restorer_with_tiles_of_its_own_gets_those(tmp_path):
    class Square(Bright):
        tile_px = 64

    models = folder(tmp_path, a={"task": "denoise"})
    for short_px in (None, 300):
        tile = Tasks("denoise", models=models, short_px=short_px, load=lambda path: Square()).tile("denoise")
        assert tile.tile_px == 64

    class Slow(Bright):
        tile_px, batch, area_px = None, 1, 5000

    tile = Tasks("denoise", models=models, load=lambda path: Slow()).tile("denoise")
    assert (tile.tile_px, tile.batch, tile.area_px) == (None, 1, 5000)


def test_a_shared_tile_lies_between_its_halo_and_the_memory():
    assert shared_side(Tile(Bright()), 10) == 128
    assert shared_side(Tile(Bright()), 700) == 700
    assert shared_side(Tile(Bright(scale=4)), 9999) == 256
    assert shared_side(Tile(Bright(halo_px=60)), 10) == 240


def test_the_finish_is_in_order(key):
    y = np.full((1, 4, 4, 3), 0.25, np.float32)
    assert Finish()(bright := Bright()) is bright
    half = Finish(strength=0.5, ensemble=True)(Bright())
    np.testing.assert_allclose(half(key, Observation(y=y)), 0.625, rtol=1e-6)
    assert Finish(grain=0.1)(Bright()).draws == 1
    assert Finish(spread=True)(Bright())(key, Observation(y=y)).shape == (1, 4, 4, 6)
    assert Finish(samples=3)(Bright(draws=1)).draws == 3
    with pytest.raises(ValueError, match=r"Finish\.samples = 3.*draws nothing"):
        Finish(samples=3)(Bright())


@pytest.mark.parametrize(("field", "value"), [("strength", 1.5), ("samples", 0), ("grain", -0.1)])
def test_a_number_outside_its_range_is_named(field, value):
    with pytest.raises(ValueError, match=rf"Finish\.{field}"):
        Finish(**{field: value})


def test_holes_have_no_strength():
    with pytest.raises(ValueError, match=r"Finish\.fill"):
        Finish(fill=True, strength=0.5)


def test_only_holes_are_painted(key):
    x = np.random.default_rng(0).random((9, 7, 3), np.float32)
    seen = np.ones((9, 7, 1), np.float32)
    seen[2:5, 3:6] = 0
    rows = []

    class Sink:
        def write(self, part):
            rows.append(part.copy())

    restore_rows(Tile(Fill(Bright()), 4, 0), key, Picture(x), Sink(), seen)
    np.testing.assert_array_equal(np.concatenate(rows), np.where(seen > 0, x, 1.0))
    np.testing.assert_array_equal(Rows(Picture(x), seen).rows(2, 4), x[2:4] * seen[2:4])
    with pytest.raises(ValueError, match="the mask has 7 x 3"):
        restore_rows(Tile(Fill(Bright())), key, Picture(x), Sink(), seen[:3])
    with pytest.raises(ValueError, match="mask"):
        Fill(Bright())(key, Observation(y=x[None]))


def test_a_shipped_model_is_named_as_any():
    name = zoo.names()[0]
    assert Tasks(model=name).found["auto"] == zoo.FOLDER / name
