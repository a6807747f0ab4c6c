"""Flickr2K as its archive unpacks."""

from restore_jax.data.sets.flickr2k import Flickr2k
from tests.data.sets.test_prepared import names, picture, records


def test_photographs_and_pairs(tmp_path):
    root = tmp_path / "Flickr2K"
    for i in (1, 2):
        picture(root / "Flickr2K_HR" / f"{i:06}.png", i)
        picture(root / "Flickr2K_LR_unknown" / "X3" / f"{i:06}x3.png", i, 3)
    assert names(records(Flickr2k, root)["train"]) == ["000001", "000002"]
    pair = records(Flickr2k, root, "unknown_x3")["train"][1]
    assert (pair["image"].shape, pair["observed"].shape) == ((8, 10, 3), (3, 5, 3))
