"""What several commands take."""

import argparse

import pytest

from restore_jax.cli.arguments import config, level, model, the_model, tiles


def parsed(*words):
    parser = argparse.ArgumentParser()
    model(parser)
    return parser.parse_args(words)


def test_a_model_by_place_is_the_model_by_name():
    assert the_model(parsed("run")) == the_model(parsed("--model", "run")) == "run"
    with pytest.raises(ValueError, match="give a model"):
        the_model(parsed())


def test_tiles_are_automatic_unless_they_are_given():
    parser = argparse.ArgumentParser()
    tiles(parser)
    assert vars(parser.parse_args([])) == {"tile": None, "overlap": None}
    assert vars(parser.parse_args(["--tile", "64", "--overlap", "0"])) == {"tile": 64, "overlap": 0}


def test_a_level_is_a_number_or_a_fraction():
    assert level("25/255") == 25 / 255
    assert level("0.5") == 0.5


def test_a_config_is_what_its_function_answers(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("def get_config(which='a'):\n    return {'which': which}\n")
    assert config(path) == {"which": "a"}
    assert config(path, "b") == {"which": "b"}
    with pytest.raises(ValueError, match="not a Python file"):
        config(tmp_path / "none.py")
