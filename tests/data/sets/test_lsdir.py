"""LSDIR as its shards unpack."""

import pytest

from restore_jax.data.sets.lsdir import Lsdir
from tests.data.sets.test_prepared import names, picture, records


@pytest.mark.parametrize("below", ["", "train"])
def test_shards_and_validation(tmp_path, below):
    root = tmp_path / "LSDIR"
    for file in ("0001000/0000001", "0001000/0001000", "0002000/0001001"):
        picture(root / below / f"{file}.png")
    picture(root / "val1" / "HR" / "val" / "0000001.png")
    picture(root / "val1" / "X2" / "val" / "0000001x2.png", size=4)
    found = records(Lsdir, root)
    assert names(found["train"]) == ["0001000/0000001", "0001000/0001000", "0002000/0001001"]
    assert names(found["validation"]) == ["0000001"]
    if not below:
        (pair,) = records(Lsdir, root, "x2")["validation"]
        assert pair["observed"].shape == (4, 6, 3)
