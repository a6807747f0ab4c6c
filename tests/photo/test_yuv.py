"""Codes and R'G'B': published values, inverses, and the way back code for code."""

import numpy as np
import pytest

from restore_jax.photo.yuv import MATRICES, Coding, Layout, enlarged, layout, nearest, reduced

RNG = np.random.default_rng(0)
NAMES = ("yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuv420p10le", "yuv422p12le", "gbrp", "gbrp10le", "gray10le")


def noise(of, height=7, width=9):
    return tuple(RNG.integers(0, 2**of.depth, shape).astype(of.dtype) for shape in of.shapes(height, width))


def test_names():
    assert layout("yuvj422p") == Layout("yuv", 8, (1, 2))
    assert layout("yuv420p10le") == Layout("yuv", 10, (2, 2))
    for name in ("nv12", "yuva420p", "yuv420p10be", "rgb24"):
        assert layout(name) is None


@pytest.mark.parametrize(
    ("matrix", "rgb", "codes"),
    [  # white, black, and red and blue, whose colour codes are the ends of the range: BT.709 and BT.601, 8 bits
        (1, (1, 1, 1), (235, 128, 128)),
        (1, (0, 0, 0), (16, 128, 128)),
        (1, (1, 0, 0), (16 + 219 * 0.2126, 128 - 224 * 0.2126 / 1.8556, 240)),
        (6, (0, 0, 1), (16 + 219 * 0.114, 240, 128 - 224 * 0.114 / 1.402)),
        (9, (0, 0, 1), (16 + 219 * 0.0593, 240, 128 - 224 * 0.0593 / 1.4746)),
    ],
)
def test_codes_of_colours(matrix, rgb, codes):
    found = Coding(layout("yuv444p"), matrix).codes(np.full((1, 1, 3), rgb, np.float32))
    np.testing.assert_allclose([p.item() for p in found], codes, atol=1e-3)


def test_full_range_and_depth():
    white = np.ones((1, 1, 3), np.float32)
    assert [p.item() for p in Coding(layout("yuv444p"), 1, True).codes(white)] == pytest.approx([255, 128, 128])
    assert [p.item() for p in Coding(layout("yuv444p10le"), 1).codes(white)] == pytest.approx([940, 512, 512])


@pytest.mark.parametrize("matrix", sorted(MATRICES))
def test_codes_are_the_inverse_of_rgb(matrix):
    coding = Coding(layout("yuv444p"), matrix)
    x = RNG.random((5, 6, 3), np.float32)
    np.testing.assert_allclose(coding.rgb(coding.codes(x)), x, atol=2e-6)  # a few roundings of numbers up to 240


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_alone_comes_back_code_for_code(name, full):
    """Any codes at all: outside R'G'B', above white, colour as noise; odd sizes."""
    coding = Coding(layout(name), 1, full)
    planes = noise(coding.layout)
    for a, b in zip(coding.restored(planes, coding.shown(planes)), planes):
        np.testing.assert_array_equal(a, b)


def test_a_deeper_layout_holds_it_exactly():
    coding = Coding(layout("yuv420p"), 6)
    deeper = coding.deeper(layout("yuv420p10le"))
    planes = noise(coding.layout)
    for a, b in zip(coding.restored(planes, coding.shown(planes), deeper), planes):
        np.testing.assert_array_equal(a, 4 * b.astype(int))


def test_a_change_arrives():
    coding = Coding(layout("yuv420p"), 1)
    planes = coding.restored(noise(coding.layout), np.full((14, 18, 3), 0.5, np.float32))
    assert [p.shape for p in planes] == [(14, 18), (7, 9), (7, 9)]
    inside = tuple(np.full(s, c, np.uint8) for s, c in zip(coding.layout.shapes(7, 9), (100, 120, 130)))
    grey = coding.restored(inside, np.full((7, 9, 3), 0.5, np.float32))
    assert np.unique(grey[0]).tolist() == [126]  # 16 + 219 / 2 = 125.5, to the even one
    assert np.unique(grey[1]).tolist() == [128]


def test_colour_lies_on_even_columns_and_between_rows():
    """A ramp is enlarged to the ramp: sample (i, j) lies at row 2 i + 1/2, column 2 j."""
    row, col = np.mgrid[:4, :5].astype(np.float32)
    wide = enlarged(3 * (2 * row + 0.5) + 5 * 2 * col, (2, 2), (8, 10))
    rows, cols = np.mgrid[:8, :10].astype(np.float32)
    np.testing.assert_allclose(wide[1:-1, :-1], (3 * rows + 5 * cols)[1:-1, :-1], atol=1e-4)
    back = reduced(3 * rows + 5 * cols, (2, 2))
    np.testing.assert_allclose(back[:, 1:], (3 * (2 * row + 0.5) + 10 * col)[:, 1:], atol=1e-4)


def test_the_nearest_format_loses_nothing_it_need_not():
    offered = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "gray", "yuvj420p", "nv12")
    for name in ("yuv420p", "yuv422p", "yuv420p10le", "gray"):
        assert nearest(layout(name), offered) == name
    assert nearest(layout("yuv420p"), ("yuv422p10le", "yuv444p10le")) == "yuv422p10le"
    assert nearest(layout("yuv444p10le"), ("yuv420p", "yuv420p10le")) == "yuv420p10le"
    assert nearest(layout("gbrp"), offered) == "yuv444p"
    assert nearest(layout("gray"), ("yuv420p", "yuv444p")) == "yuv420p"
    with pytest.raises(ValueError, match="planar"):
        nearest(layout("gray"), ("nv12",))


def test_errors():
    with pytest.raises(ValueError, match=r"Coding\.matrix.*not 8"):
        Coding(layout("yuv420p"), 8)
    coding = Coding(layout("gray"), 1)
    with pytest.raises(ValueError, match="NaN"):
        coding.restored(noise(coding.layout), np.full((7, 9, 3), np.nan, np.float32))
