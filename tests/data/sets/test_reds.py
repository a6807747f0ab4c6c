"""REDS as its archives unpack."""

import pytest

from restore_jax.data.sets.reds import Reds
from tests.data.sets.test_prepared import picture, records


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "REDS"
    for word, clips in (("train", ("000", "001")), ("val", ("000",))):
        for clip in clips:
            for frame in range(2):
                name = f"{clip}/{frame:08}"
                picture(root / word / f"{word}_sharp" / f"{name}.png")
                picture(root / word / f"{word}_blur_jpeg" / f"{name}.jpg")
                picture(root / word / f"{word}_sharp_bicubic" / "X4" / f"{name}.png", size=2)
    return root


def test_frames_of_clips(folder):
    found = records(Reds, folder)
    told = [(e["name"], e["clip"], e["frame"]) for e in found["train"]]
    assert told[1:3] == [("000/00000001", "000", "1"), ("001/00000000", "001", "0")]
    assert len(found["validation"]) == 2


@pytest.mark.parametrize(("config", "size"), [("blur_jpeg", 8), ("sharp_bicubic", 2)])
def test_pairs(folder, config, size):
    found = records(Reds, folder, config)["train"]
    assert len(found) == 4
    assert found[3]["clip"] == "001"
    assert found[3]["observed"].shape == (size, size + 2, 3)


def test_without_the_outer_folder(folder):
    assert len(Reds.found(folder / "val", "sharp")["validation"]) == 2
