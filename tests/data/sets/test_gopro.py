"""GOPRO_Large as its archive unpacks."""

import numpy as np

from restore_jax.data.sets.gopro import Gopro
from tests.data.sets.test_prepared import picture, records


def test_clips_of_pairs(tmp_path):
    root = tmp_path / "GOPRO_Large"
    for split, clip in (("train", "GOPR0372_07_00"), ("train", "GOPR0372_07_01"), ("test", "GOPR0384_11_00")):
        for frame in (47, 48):
            for k, kind in enumerate(("blur", "blur_gamma", "sharp")):
                picture(root / split / clip / kind / f"{frame:06}.png", 10 * frame + k)
    found = records(Gopro, root)
    told = [(e["name"], e["clip"], e["frame"]) for e in found["train"]]
    assert told[1:3] == [
        ("GOPR0372_07_00/000048", "GOPR0372_07_00", "1"),
        ("GOPR0372_07_01/000047", "GOPR0372_07_01", "0"),
    ]
    assert [len(found[split]) for split in ("train", "test")] == [4, 2]
    np.testing.assert_array_equal(found["test"][0]["observed"], picture(tmp_path / "gamma.png", 471))
    other = records(Gopro, root, "blur")["test"][0]
    np.testing.assert_array_equal(other["observed"], picture(tmp_path / "blur.png", 470))
    np.testing.assert_array_equal(other["image"], picture(tmp_path / "sharp.png", 472))
