"""Standard sets, made up in the layouts that people have."""

import numpy as np
import pytest

from restore_jax.data.sets.standard import NoSet, Standard, StandardPairs
from restore_jax.photo.write import write


def picture(i, h=16, w=20):
    return np.full((h, w, 3), 10 * i, np.uint8)


def lay(folder, names, **size):
    for i, name in enumerate(names):
        write(folder / name, picture(i, **size))


@pytest.fixture
def write_all(tmp_path):
    def make(tree, **size):
        for folder, names in tree.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            small = size if "LR" in folder or "/X" in folder else {}
            lay(tmp_path / folder, names, **small)
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    "folder", ["Set5", "set5", "Set5/HR", "Set5/original", "Set5/GTmod12", "benchmark/Set5/HR", "SET5/GT"]
)
def test_photographs_in_every_layout(folder, write_all):
    root = write_all({folder: ["img10.png", "img2.png", "baby.png"]})
    found = Standard("Set5", root)
    assert found.names == ("baby", "img2", "img10"), "numbers are numbers"
    np.testing.assert_array_equal(found[1], picture(1))


@pytest.mark.parametrize(
    ("clean", "observed"),
    [
        ({"Set5/HR": ["baby.png", "woman.png"]}, {"Set5/LR_bicubic/X4": ["babyx4.png", "womanx4.png"]}),
        ({"Set5/GTmod12": ["baby.png", "woman.png"]}, {"Set5/LRbicx4": ["baby.png", "woman.png"]}),
        ({"Set5/HR": ["baby.png", "woman.png"]}, {"Set5/LRbicx4": ["img_001_SRF_4_LR.png", "img_002_SRF_4_LR.png"]}),
    ],
    ids=["EDSR", "BasicSR", "by order"],
)
def test_pairs_in_every_layout(clean, observed, write_all):
    root = write_all(clean | observed, h=4, w=5)
    found = StandardPairs("Set5", root, 4)
    assert found.names == ("baby", "woman")
    y, x = found[1]
    assert (y.shape, x.shape) == ((4, 5, 3), (16, 20, 3))
    np.testing.assert_array_equal(y[0, 0], x[0, 0])


def test_both_kinds_in_one_folder(tmp_path):
    folder = tmp_path / "Set14" / "image_SRF_4"
    folder.mkdir(parents=True)
    for i in range(2):
        write(folder / f"img_00{i}_SRF_4_HR.png", picture(i))
        write(folder / f"img_00{i}_SRF_4_LR.png", picture(i, 4, 5))
    y, x = StandardPairs("Set14", str(tmp_path), 4)[1]
    assert (y.shape, x.shape) == ((4, 5, 3), (16, 20, 3))
    assert y[0, 0, 0] == x[0, 0, 0] == 10


def test_an_index_says_which_and_what_they_are_called(tmp_path):
    folder = tmp_path / "BSD100" / "original_jpg"
    folder.mkdir(parents=True)
    lay(folder, ["3096.png", "101085.png", "8023.png"])
    (tmp_path / "BSD100" / "CBSD68.txt").write_text("101085\n3096\n")
    (tmp_path / "BSD100" / "B100_index.txt").write_text("img_001 8023\nimg_002 3096\n")
    assert Standard("CBSD68", str(tmp_path)).names == ("3096", "101085")
    named = Standard("BSD100", str(tmp_path))
    assert named.names == ("img_001", "img_002")
    np.testing.assert_array_equal(named[0], picture(2))
    with pytest.raises(NoSet):  # the small pictures of BSD100 are not those of CBSD68
        StandardPairs("CBSD68", str(tmp_path), 4)


def test_a_folder_of_another_set_needs_its_index(write_all):
    with pytest.raises(NoSet):
        Standard("CBSD68", write_all({"BSD100": ["3096.png"]}))


def test_real_pairs(write_all):
    root = write_all(
        {
            "GOPRO_Large/test/b/sharp": ["1.png"],
            "GOPRO_Large/test/a/sharp": ["1.png", "2.png"],
            "GOPRO_Large/test/b/blur": ["1.png"],
            "GOPRO_Large/test/a/blur": ["1.png", "2.png"],
            "RealSR/HR": ["Canon_001_HR.png"],
            "RealSR/LR_x4": ["Canon_001_LR4.png"],
        },
        h=4,
        w=5,
    )
    assert StandardPairs("GoPro", root).names == ("a/1", "a/2", "b/1")
    y, x = StandardPairs("RealSR", root)[0]
    assert (y.shape, x.shape) == ((4, 5, 3), (16, 20, 3))


def test_an_absent_set_says_where_it_was_looked_for(write_all):
    root = write_all({"Set5/HR": ["baby.png"]})
    with pytest.raises(NoSet, match=r"Urban100 is not below .*Looked for\n.*/Urban100\n.*/benchmark/Urban100"):
        Standard("Urban100", root)
    with pytest.raises(NoSet, match=r"Set5/LR_bicubic/X4\n.*Set5/LRbicx4"):
        StandardPairs("Set5", root, 4)


def test_what_does_not_fit_is_refused(write_all):
    root = write_all({"Set5/HR": ["baby.png", "bird.png"], "Set5/LRbicx4": ["baby.png"]}, h=5, w=5)
    with pytest.raises(ValueError, match="do not pair: bird was observed nowhere"):
        StandardPairs("Set5", root, 4)
    with pytest.raises(ValueError, match="none of the standard sets"):
        Standard("Set6", root)
    with pytest.raises(ValueError, match="real pairs"):
        Standard("SIDD", root)
    with pytest.raises(ValueError, match="photographs alone"):
        StandardPairs("Set5", root)
    write_all({"Set5/LRbicx4": ["bird.png"]}, h=5, w=5)
    with pytest.raises(ValueError, match="4 times as large"):
        _ = StandardPairs("Set5", root, 4)[0]
