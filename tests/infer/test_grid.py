"""Windows are a partition of unity, tiles lie on the grid, and a fitted tile costs little."""

import numpy as np
import pytest

from restore_jax.infer.grid import Axis, fitted


@pytest.mark.parametrize("feather", [False, True])
@pytest.mark.parametrize(
    ("size", "tile", "halo", "unit", "begin"),
    [(100, 40, 8, 4, 0), (97, 32, 5, 1, 0), (48, 48, 16, 8, 0), (96, 32, 8, 8, 16)],
)
def test_windows_sum_to_one_and_halos_answer_for_nothing(size, tile, halo, unit, begin, feather):
    axis = Axis(size, tile, halo, unit, feather, begin)
    for scale in (1, 2):
        total = np.zeros(size * scale)
        for k, (span, window) in enumerate(zip(axis.spans, axis.windows(scale))):
            total[span.start * scale : span.stop * scale] += window
            assert (span.start - begin) % unit == 0 or span.stop == size
            if k > 0:
                assert (window[: halo * scale] == 0).all()
            if k < len(axis.spans) - 1:
                assert (window[len(window) - halo * scale :] == 0).all()
        np.testing.assert_allclose(total[begin * scale :], 1.0, atol=2e-7)  # three float32 terms
    assert axis.spans[-1].stop == size
    if not feather:
        assert all(set(np.unique(window)) <= {0.0, 1.0} for window in axis.windows())


def test_a_tile_without_room_is_refused():
    with pytest.raises(ValueError, match=r"Axis\.tile = 16 leaves no room inside a halo of 8"):
        Axis(100, 16, 8)
    assert Axis(16, 16, 8).spans == (slice(0, 16),)  # one tile needs no halo


def test_a_fitted_tile_is_the_cheapest_that_is_allowed():
    """48 megapixels, halo 24: at most 12 % more than the picture, where squares of 512 are 21 % more."""

    def cost(h, w):
        downs, acrosses = Axis(8064, h, 24, 8).spans, Axis(6048, w, 24, 8).spans
        return len(downs) * h * len(acrosses) * w / (8064 * 6048)

    h, w = fitted(8064, 6048, 24, 8, 2**20)
    assert h * w <= 2**20
    assert h % 8 == w % 8 == 0
    assert cost(h, w) < 1.12

    def exact(size):
        sides = (-(-(size + 48 * (n - 1)) // n) for n in range(1, size // 48 + 2))
        return {min(size, -(-side // 8) * 8): n for n, side in reversed(list(enumerate(sides, 1)))}

    downs, acrosses = exact(8064), exact(6048)
    every = [n * a * m * b for a, n in downs.items() for b, m in acrosses.items() if a * b <= 2**20]
    assert downs[h] * h * acrosses[w] * w == min(every)
    for height in (2016, 4032):  # of much the same memory, whatever the height
        other = fitted(height, 6048, 24, 8, 2**20)
        assert 0.8 < other[0] * other[1] / (h * w) <= 2**20 / (h * w)
    assert cost(512, 512) > 1.2
    assert fitted(100, 80, 24, 4, 2**20) == (100, 80)  # one tile
    least = fitted(8064, 6048, 64, 8, 10)  # impossible: the smallest with room
    assert least[0] * least[1] < 300**2
    Axis(8064, least[0], 64, 8)
