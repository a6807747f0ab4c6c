"""Rows come once and in order, levels are rounded once, and the border is the mirror image."""

import numpy as np
import pytest

from restore_jax.infer.bands import ArraySink, ArraySource, Sink, Source, Window, mirrored, part_of, to_float, to_levels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_levels_there_and_back(dtype):
    top = np.iinfo(dtype).max
    levels = np.arange(0, top + 1, 1 if top == 255 else 7).astype(dtype).reshape(-1, 1, 1)
    np.testing.assert_array_equal(to_levels(to_float(levels), dtype), levels)
    edges = np.array([-1.0, 0.5 / top, 2.0], np.float32).reshape(1, 3, 1)
    np.testing.assert_array_equal(to_levels(edges, dtype).ravel(), [0, 1, top])
    with pytest.raises(ValueError, match="holds NaN"):
        to_levels(np.full((1, 1, 1), np.nan, np.float32), dtype)


def test_a_sink_fills_an_array():
    out = np.zeros((150, 3, 1), np.float16)
    sink = ArraySink(out)
    assert isinstance(sink, Sink)
    assert isinstance(ArraySource(out), Source)
    rows = np.random.default_rng(0).random((150, 3, 1), np.float32)
    for first, last in ((0, 100), (100, 101), (101, 150)):
        sink.write(rows[first:last])
    np.testing.assert_array_equal(out, rows.astype(np.float16))


@pytest.mark.parametrize("height", [1, 3, 17, 24])
def test_a_window_is_the_mirrored_picture(height):
    """Tiles on a grid of 8, asked for from top to bottom, of pictures smaller than that too."""
    y = np.random.default_rng(0).random((height, 5, 3), np.float32)
    window, unit = Window(y, 8), 8
    whole = np.pad(y, [(0, -height % unit), (0, 3), (0, 0)], mode="symmetric")
    assert window.shape == whole.shape
    with pytest.raises(ValueError, match="no rows are held"):
        window.fill(np.zeros((1, 1, 3), np.float32), slice(0, 1), slice(0, 1))
    for top in range(0, window.shape[0], 8):
        bottom = min(top + 16, window.shape[0])
        window.need(top, bottom)
        rows, cols = slice(top, bottom), slice(0, 8)
        tile = np.full((bottom - top, 8, 3), np.nan, np.float32)
        window.fill(tile, rows, cols)
        np.testing.assert_array_equal(tile, whole[rows, cols])
        np.testing.assert_array_equal(part_of(y, 8)(rows, cols), whole[rows, cols])


def test_what_is_not_needed_is_forgotten():
    whole = np.zeros((1000, 4, 3), np.uint8)
    window = Window(whole, 1)
    for top in range(0, 960, 20):
        window.need(top, top + 40)
        assert window._held is not None
        assert len(window._held) <= 40
        assert not np.shares_memory(window._held, whole)  # a view would keep all that was before
    np.testing.assert_array_equal(mirrored(3, 4), [0, 1, 2, 2])
