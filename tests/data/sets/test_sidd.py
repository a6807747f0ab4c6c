"""SIDD as its two archives unpack."""

import numpy as np
import pytest

from restore_jax.data.sets.sidd import Sidd
from tests.data.sets.test_prepared import names, picture, records

SCENE = "0001_001_S6_00100_00060_3200_L"


def test_medium_has_two_pairs_a_scene(tmp_path):
    root = tmp_path / "SIDD_Medium_Srgb"
    (root / "Data").mkdir(parents=True)
    (root / "Scene_Instances.txt").write_text(SCENE)
    clean = [picture(root / "Data" / SCENE / f"0001_GT_SRGB_{i}.PNG", int(i)) for i in ("010", "011")]
    noisy = [picture(root / "Data" / SCENE / f"0001_NOISY_SRGB_{i}.PNG", -int(i) % 99) for i in ("010", "011")]
    found = records(Sidd, root)["train"]
    assert names(found) == [f"{SCENE}/0001_GT_SRGB_010", f"{SCENE}/0001_GT_SRGB_011"]
    for pair, x, y in zip(found, clean, noisy, strict=True):
        np.testing.assert_array_equal(pair["image"], x)
        np.testing.assert_array_equal(pair["observed"], y)


def test_small_has_one(tmp_path):
    root = tmp_path / "SIDD_Small_sRGB_Only"
    for kind in ("GT", "NOISY"):
        picture(root / "Data" / SCENE / f"{kind}_SRGB_010.PNG")
    assert names(records(Sidd, root, "small")["train"]) == [f"{SCENE}/GT_SRGB_010"]
    (root / "Data" / SCENE / "NOISY_SRGB_010.PNG").unlink()
    with pytest.raises(ValueError, match=r"NOISY_SRGB_010\.PNG is absent"):
        Sidd.found(root, "small")
