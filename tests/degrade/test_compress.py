"""JPEG as a degradation: which quality, which grid, which pictures."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.data.sets.embedded import Embedded
from restore_jax.degrade.compress import DoubleJpeg, Jpeg
from restore_jax.ops.jpeg import hard

KEYS = jax.random.split(jax.random.key(1), 24)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(Embedded("heldout")[0][60:92, 130:178] / 255, jnp.float32)


def observe(degrade, x):
    return np.asarray(jax.jit(jax.vmap(degrade, (0, None)))(KEYS, x).y)


def pillow(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file))


def levels(y):
    return np.round(255 * np.asarray(y)).astype(int)


def test_a_fixed_quality_is_the_codec(x):
    """Whatever the key."""
    y = observe(Jpeg(quality=40.0, subsampling="4:4:4"), x)
    np.testing.assert_array_equal(y, np.broadcast_to(hard(x, 40.0, "4:4:4"), y.shape))


def test_quality_is_drawn_from_its_range(x):
    """Twenty-four draws from 10 .. 90 lie strictly apart, and between the errors of the ends."""
    y = observe(Jpeg(quality=(10.0, 90.0), subsampling="4:4:4"), x)
    error = np.square(y - x[None]).mean((1, 2, 3))
    ends = [np.mean(np.square(hard(x, q, "4:4:4") - x)) for q in (10.0, 90.0)]
    assert ends[1] <= error.min() < error.max() <= ends[0]
    assert error.max() > 3 * error.min()
    assert len(np.unique(error)) > 15


def test_nothing_is_promised_of_it(key, x):
    """Not linear, and its error is not white."""
    obs = Jpeg()(key, x)
    assert obs.operator is None
    assert obs.noise_std is None


@pytest.mark.parametrize("shift", [0.0, 3.0, 7.0])
def test_double_is_compress_crop_compress(x, shift):
    """As Pillow does it from a picture whose repeated edge the crop takes away; see `tests/ops/test_jpeg.py`."""
    y = observe(DoubleJpeg(quality_1=30.0, quality_2=80.0, shift=shift, subsampling="4:4:4"), x)
    canvas = np.pad(levels(x).astype(np.uint8), ((int(shift), 0), (int(shift), 0), (0, 0)), mode="edge")
    expected = pillow(pillow(canvas, 30)[int(shift) :, int(shift) :], 80)
    apart = np.abs(levels(y) - expected[None])
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 1e-3


def test_shifts_are_drawn_for_rows_and_columns(x):
    """24 of 64 equally likely pairs: fewer than 12 different ones have a probability below 1e-6."""
    y = observe(DoubleJpeg(quality_1=30.0, quality_2=95.0, subsampling="4:4:4"), x)
    assert len(np.unique(y.reshape(len(KEYS), -1), axis=0)) >= 12


def test_gradient_passes_both(key, x):
    """Straight through twice: the identity at 4:4:4, where the window's edges fold back on x."""
    degrade = DoubleJpeg(quality_1=30.0, quality_2=95.0, shift=5.0, subsampling="4:4:4")
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(degrade(key, x).y)))(x)
    np.testing.assert_array_equal(gradient, jnp.ones_like(x))


def test_one_channel_is_taken(key, x):
    assert Jpeg(quality=50.0)(key, x[..., :1]).y.shape == (*x.shape[:2], 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Jpeg(quality=0.0), r"Jpeg\.quality must be .* in \[1, 100\], not 0"),
        (lambda: Jpeg(quality=(50.0, 101.0)), r"Jpeg\.quality must be .* in \[1, 100\], not \(50.0, 101.0\)"),
        (lambda: Jpeg(subsampling="4:2:2"), r"Jpeg\.subsampling must be one of .*4:2:0.*, not '4:2:2'"),
        (lambda: Jpeg(rounding="soft"), r"Jpeg\.rounding must be one of .*cubic.*, not 'soft'"),
        (lambda: DoubleJpeg(quality_1=0.5), r"DoubleJpeg\.quality_1 must be .* in \[1, 100\], not 0.5"),
        (lambda: DoubleJpeg(quality_2=200.0), r"DoubleJpeg\.quality_2 must be .* in \[1, 100\], not 200"),
        (lambda: DoubleJpeg(shift=(0.0, 8.0)), r"DoubleJpeg\.shift must be .* in \[0, 7\], not \(0.0, 8.0\)"),
        (lambda: DoubleJpeg(shift=1.5), r"DoubleJpeg\.shift must be a whole number .*, not 1.5"),
    ],
)
def test_bad_fields_are_refused_when_it_is_built(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("degrade", [Jpeg(), DoubleJpeg()])
def test_channels_are_1_or_3(key, degrade):
    with pytest.raises(ValueError, match=rf"{type(degrade).__name__} takes pictures of 1 or 3 channels, not 4"):
        degrade(key, jnp.zeros((8, 8, 4)))
