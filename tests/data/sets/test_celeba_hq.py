"""CelebA-HQ as CelebAMask-HQ's archive unpacks."""

import pytest

from restore_jax.data.sets.celeba_hq import MAPPING, CelebaHq
from tests.data.sets.test_prepared import names, picture, records

LINES = """idx          orig_idx     orig_file
0            119613       119614.jpg
1            162769       162770.jpg
2            162770       162771.jpg
10           202598       202599.jpg
"""


def test_divided_as_celeba_is(tmp_path):
    root = tmp_path / "CelebAMask-HQ"
    for i in (0, 1, 2, 10):
        picture(root / "CelebA-HQ-img" / f"{i}.jpg", i)
    (root / MAPPING).write_text(LINES)
    found = records(CelebaHq, root)
    assert {split: names(examples) for split, examples in found.items()} == {
        "train": ["0", "1"],
        "validation": ["2"],
        "test": ["10"],
    }
    picture(root / "CelebA-HQ-img" / "3.jpg")
    with pytest.raises(ValueError, match="does not say which photograph of CelebA"):
        CelebaHq.found(root, "1024")
