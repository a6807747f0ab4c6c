"""Pairs of a prepared set, as evaluation takes them."""

import numpy as np
import pytest

from restore_jax.build import build, spec_of
from restore_jax.data.sets.div2k import Div2k
from restore_jax.data.sets.prepared import prepare
from restore_jax.data.sets.tfds_pairs import TfdsPairs
from tests.data.sets.test_prepared import picture


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder, data_dir = tmp_path_factory.mktemp("DIV2K"), tmp_path_factory.mktemp("tfds")
    for i in (1, 2):
        picture(folder / "DIV2K_train_HR" / f"000{i}.png", i, 9, 13)
        picture(folder / "DIV2K_train_LR_bicubic" / "X2" / f"000{i}x2.png", 10 + i, 4, 6)
    prepare(Div2k, str(folder), "bicubic_x2", str(data_dir))
    return str(data_dir)


def test_pairs_without_what_is_not_shown(data_dir, tmp_path):
    source = TfdsPairs("div2k/bicubic_x2", data_dir=data_dir, scale=2)
    assert (len(source), source.names[1]) == (2, "div2k/bicubic_x2/train/1")
    assert build(spec_of(source)) == source
    y, x = source[1]
    np.testing.assert_array_equal(y, picture(tmp_path / "y.png", 12, 4, 6))
    np.testing.assert_array_equal(x, picture(tmp_path / "x.png", 2, 9, 13)[:8, :12])


def test_another_scale_than_the_pairs(data_dir):
    with pytest.raises(ValueError, match=r"is 4x6 and the photograph 9x13, which is not TfdsPairs\.scale = 3 times"):
        TfdsPairs("div2k/bicubic_x2", data_dir=data_dir, scale=3)[0]


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"scale": 0}, r"TfdsPairs\.scale must be a whole number"), ({"observed": "y"}, "no image feature 'y'")],
)
def test_what_does_not_fit(data_dir, fields, says):
    with pytest.raises(ValueError, match=says):
        TfdsPairs("div2k/bicubic_x2", data_dir=data_dir, **fields)
