"""Observations find their photographs by name, by list or by order, and the two fit."""

import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.data.sets.pairs import Listed, Pairs
from restore_jax.photo.write import write

RNG = np.random.default_rng(0)


@pytest.fixture
def folders(tmp_path):
    """Photographs a, b, c of 9x8 and observations of 4x4, told by their first pixel."""
    (tmp_path / "hr").mkdir()
    (tmp_path / "lr").mkdir()
    for i, name in enumerate("abc"):
        picture = RNG.integers(0, 256, (9, 8, 3), np.uint8)
        picture[0, 0] = i
        write(tmp_path / "hr" / f"{name}.png", picture)
        write(tmp_path / "lr" / f"{name}x2.png", picture[:8:2, ::2])
    return tmp_path


def told(pairs):
    return [(int(y[0, 0, 0]), int(x[0, 0, 0])) for y, x in (pairs[i] for i in range(len(pairs)))]


def test_by_name_and_cropped_to_what_is_shown(folders):
    pairs = Pairs(str(folders / "hr"), str(folders / "lr"), match="{}x2", scale=2)
    assert pairs.names == ("a", "b", "c")
    assert told(pairs) == [(0, 0), (1, 1), (2, 2)]
    y, x = pairs[1]
    assert y.shape == (4, 4, 3)
    assert x.shape == (8, 8, 3)
    np.testing.assert_array_equal(x[::2, ::2], y)


def test_by_order(folders):
    for i, name in enumerate("abc"):
        (folders / "lr" / f"{name}x2.png").rename(folders / "lr" / f"{i}.png")
    assert told(Pairs(str(folders / "hr"), str(folders / "lr"), match="", scale=2)) == [(0, 0), (1, 1), (2, 2)]
    (folders / "lr" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"3 photographs .* and 2 observations .* do not pair"):
        Pairs(str(folders / "hr"), str(folders / "lr"), match="", scale=2)


def test_by_list(folders):
    (folders / "index.txt").write_text("one c\ntwo a\n\n")
    for name, old in (("one", "c"), ("two", "a")):
        (folders / "lr" / f"{old}x2.png").rename(folders / "lr" / f"{name}_LR.png")
    index = str(folders / "index.txt")
    pairs = Pairs(str(folders / "hr"), str(folders / "lr"), match="{}_LR", scale=2, index=index)
    assert pairs.names == ("one", "two")
    assert told(pairs) == [(2, 2), (0, 0)]
    listed = Listed(str(folders / "hr"), index)
    assert listed.names == ("one", "two")
    assert [int(listed[i][0, 0, 0]) for i in range(len(listed))] == [2, 0]


def test_a_list_of_what_is_not_there(folders):
    (folders / "index.txt").write_text("a\nz\n")
    with pytest.raises(ValueError, match=r"index\.txt names z, not to be found"):
        Listed(str(folders / "hr"), str(folders / "index.txt"))


def test_what_does_not_fit_is_named(folders):
    hr, lr = str(folders / "hr"), str(folders / "lr")
    with pytest.raises(ValueError, match=r"cx2\.png|ax2\.png is 4x4 and a 9x8: a photograph is 3 times"):
        Pairs(hr, lr, match="{}x2", scale=3)[0]
    with pytest.raises(ValueError, match=r"lacks 'ax4', and 2 more"):
        Pairs(hr, lr, match="{}x4", scale=2)
    with pytest.raises(ValueError, match=r"Pairs\.match must hold"):
        Pairs(hr, lr, match="x2")
    with pytest.raises(ValueError, match=r"Pairs\.scale .* not 0"):
        Pairs(hr, lr, scale=0)


def test_it_is_built_from_its_spec(folders):
    spec = {"name": "data.sets.pairs.Pairs", "clean": str(folders / "hr"), "observed": str(folders / "lr")}
    assert len(build(spec | {"match": "{}x2", "scale": 2})) == 3
