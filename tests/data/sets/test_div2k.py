"""DIV2K as its archives unpack."""

import numpy as np
import pytest

from restore_jax.data.sets.div2k import Div2k
from tests.data.sets.test_prepared import names, picture, records


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "DIV2K"
    for word, numbers in (("train", (1, 2)), ("valid", (801,))):
        for i in numbers:
            picture(root / f"DIV2K_{word}_HR" / f"{i:04}.png", i)
            picture(root / f"DIV2K_{word}_LR_bicubic" / "X4" / f"{i:04}x4.png", -i % 997, 2)
            picture(root / f"DIV2K_{word}_LR_unknown" / "X2" / f"{i:04}x2.png", i + 1, 4)
    return root


def test_photographs(folder):
    found = records(Div2k, folder)
    assert {split: names(examples) for split, examples in found.items()} == {
        "train": ["0001", "0002"],
        "validation": ["0801"],
    }
    assert "observed" not in found["train"][0]


@pytest.mark.parametrize(("config", "size"), [("bicubic_x4", 2), ("unknown_x2", 4)])
def test_pairs(folder, config, size):
    (pair,) = records(Div2k, folder, config)["validation"]
    assert pair["observed"].shape == (size, size + 2, 3)
    np.testing.assert_array_equal(pair["image"], picture(folder / "again.png", 801))
