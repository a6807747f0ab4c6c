"""FFHQ as its script downloads it."""

from restore_jax.data.sets.ffhq import Ffhq
from tests.data.sets.test_prepared import names, picture, records


def test_divided_by_number(tmp_path):
    root = tmp_path / "ffhq"
    for i in (0, 999, 59_999, 60_000, 69_999):
        picture(root / "images1024x1024" / f"{i // 1000 * 1000:05}" / f"{i:05}.png", i)
    picture(root / "thumbnails128x128" / "00000" / "00007.png", size=4)
    found = records(Ffhq, root)
    assert names(found["train"]) == ["00000", "00999", "59999"]
    assert names(found["validation"]) == ["60000", "69999"]
    assert names(records(Ffhq, root, "128")["train"]) == ["00007"]
