"""The sheet shows the pictures themselves: enlarged by repetition, in their colours, in their places."""

import numpy as np

from restore_jax.evaluate.figure import panels, visible


def test_pictures_are_shown_as_they_are():
    red, green = np.zeros((4, 4, 3)), np.zeros((8, 8, 3))
    red[..., 0], green[..., 1] = 1.0, 1.0
    sheet = panels({"a": red, "b\nsecond line": green}, "title", columns=2, width_px=32)
    assert sheet.dtype == np.uint8
    pixels = sheet.reshape(-1, 3).tolist()
    assert pixels.count([255, 0, 0]) == 32 * 32
    assert pixels.count([0, 255, 0]) == 32 * 32
    reds, greens = (np.argwhere((sheet == color).all(-1)) for color in ([255, 0, 0], [0, 255, 0]))
    assert reds[:, 1].max() < greens[:, 1].min()


def test_rows():
    one = np.full((4, 4, 3), 0.5)
    two_rows = panels({k: one for k in "abc"}, columns=2, width_px=16)
    one_row = panels({k: one for k in "abc"}, columns=3, width_px=16)
    assert two_rows.shape[0] > one_row.shape[0]
    assert two_rows.shape[1] < one_row.shape[1]


def test_whatever_was_observed_can_be_shown():
    rng = np.random.default_rng(0)
    frames, spectrum = rng.random((3, 4, 5, 1)), rng.random((4, 5, 6))
    np.testing.assert_array_equal(visible(frames), np.repeat(frames[0], 3, axis=-1))
    np.testing.assert_array_equal(visible(spectrum), np.repeat(spectrum[..., :1], 3, axis=-1))
    colour = rng.random((4, 5, 3))
    np.testing.assert_array_equal(visible(colour), colour)
