"""The codec proxy: the step, key frames, what prediction keeps, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.data.sets.embedded import Embedded
from restore_jax.degrade.codec import VideoCodec, _deblock


@pytest.fixture(scope="module")
def clip():
    """Five frames of one photograph, panned by a pixel a frame."""
    photo = Embedded("heldout")[0][60:100, 130:200]
    return jnp.asarray(np.stack([photo[i : i + 32, i : i + 48] for i in range(5)]) / 255, jnp.float32)


def code(degrade, clip):
    return np.asarray(jax.jit(degrade)(jax.random.key(0), clip).y)


def noise(y, x):
    return np.sqrt(np.square(255 * (y - np.asarray(x))).mean())


def test_error_is_that_of_the_step():
    """Grey noise of 40 levels, qp 22: a step of 8, `8 / sqrt(12)` by uniform quantisation, a third of it off centre.

    An offset of 1/3 in place of 1/2 shifts by `8 / 6`: rms `8 sqrt(1/12 + 1/36) = 2.67`. Round 0 (a fifth of the
    coefficients) the dead zone differs, the pixels round (0.3), and the filter leaves such rough edges alone: 10 %.
    """
    x = jnp.asarray(np.clip(np.random.default_rng(0).normal(128, 40, (1, 64, 64, 1)), 0, 255) / 255, jnp.float32)
    assert noise(code(VideoCodec(qp=22.0), x), x) == pytest.approx(2.67, rel=0.1)
    assert noise(code(VideoCodec(qp=28.0), x), x) == pytest.approx(5.33, rel=0.1)


def test_each_gop_starts_anew(clip):
    """A clip cut at its key frames codes as the pieces do."""
    whole = code(VideoCodec(qp=30.0, gop=2), clip)
    np.testing.assert_array_equal(whole[2:4], code(VideoCodec(qp=30.0, gop=2), clip[2:4]))
    assert np.any(whole[1:3] != code(VideoCodec(qp=30.0, gop=2), clip[1:3]))


def test_what_stands_still_stays(clip):
    """The error of a key frame is below its own step, so that the wider dead zone sends nothing more, or little."""
    still = jnp.broadcast_to(clip[:1], clip.shape)
    y = code(VideoCodec(qp=34.0, gop=12), still)
    assert noise(y[4], y[0]) < 0.5 * noise(y[0], still[0])


def test_errors_do_not_drift(clip):
    """The prediction is from what was decoded, not from what was filmed: the fifth frame is as good as the first."""
    y = code(VideoCodec(qp=30.0, gop=12), clip)
    assert noise(y[4], clip[4]) < 1.5 * noise(y[0], clip[0])


def test_nearly_lossless_at_0(clip):
    """Luma of grey pictures: a step of 0.63 levels and 8-bit rounding stay within 1.5 levels."""
    grey = clip[..., :1]
    assert 255 * np.abs(code(VideoCodec(qp=0.0), grey) - grey).max() < 1.6


def test_gradient_is_the_identity(key, clip):
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(VideoCodec()(key, x).y)))(clip)
    np.testing.assert_array_equal(gradient, jnp.ones_like(clip))


def test_deblock_by_hand():
    """qp 30: alpha 24.8, so that d is at most 2; beta 8. A step of 10 is smoothed, one of 40 is an edge of the picture.

    For 100 | 110: (4 * 10 + 100 - 110 + 4) / 8 = 4, cut to 2.
    """
    row = jnp.asarray(np.repeat([100, 110, 150], 8).reshape(1, 1, 24), jnp.int32)
    expected = np.repeat([100, 110, 150], 8)
    expected[7:9] = 102, 108
    np.testing.assert_array_equal(_deblock(row, jnp.float32(30), -1).ravel(), expected)
    column = jnp.swapaxes(row, -1, -2)
    np.testing.assert_array_equal(_deblock(column, jnp.float32(30), -2).ravel(), expected)
    np.testing.assert_array_equal(_deblock(row, jnp.float32(12), -1), row)  # beta < 0: off


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VideoCodec(qp=52.0), r"VideoCodec\.qp must be .* in \[0, 51\], not 52"),
        (lambda: VideoCodec(gop=0), r"VideoCodec\.gop must be a whole number of frames, 1 or more, not 0"),
        (lambda: VideoCodec()(jax.random.key(0), jnp.zeros((2, 8, 8, 2))), r"clips of 1 or 3 channels, not 2"),
    ],
)
def test_bad_input_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
