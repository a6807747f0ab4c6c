"""What the laws cannot know of blind degradations: grey levels, limits, that sizes are honoured, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.blind import Bsrgan, RealEsrgan, Stage
from restore_jax.degrade.downsample import Downsample

NOTHING = Stage(
    blur_probability=0.0,
    resize=(1.0, 1.0),
    gaussian=(0.0, 0.0),
    poisson=(0.0, 0.0),
    quality=(100.0, 100.0),
)
KEY = jax.random.key(3)


def gradient_picture(n):
    i = np.arange(n) / n
    return jnp.asarray(
        np.stack([i[:, None] + 0 * i, i + 0 * i[:, None], 0.5 + 0 * np.add.outer(i, i)], -1), jnp.float32
    )


@pytest.mark.parametrize(
    "blind",
    [pytest.param(RealEsrgan(scale=2), marks=pytest.mark.soak), Bsrgan(scale=2)],
    ids=lambda b: type(b).__name__,
)
def test_y_is_a_file_of_half_the_size_and_its_noise_is_its_own(blind):
    f = jax.jit(jax.vmap(blind, in_axes=(0, None)))
    y = f(jax.random.split(KEY, 4), gradient_picture(32)).y
    assert y.shape == (4, 16, 16, 3)
    np.testing.assert_allclose(y * 255, jnp.round(y * 255), atol=255 * 2.0**-23)
    assert y.min() >= 0
    assert y.max() <= 1
    assert len({one.tobytes() for one in np.asarray(y)}) == 4


def test_without_harm_only_the_reduction_and_two_fine_jpegs_are_left():
    """JPEG at quality 100, 4:2:0, on a smooth ramp errs by some grey levels at most; colours by their subsampling."""
    x = gradient_picture(32)
    y = RealEsrgan(scale=2, first=NOTHING, second=NOTHING, sinc_probability=0.0)(KEY, x).y
    small = Downsample(2, kernel="box")(KEY, x).y
    assert jnp.abs(y - small)[1:-1, 1:-1].max() < 6 / 255


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Stage(quality=(0.0, 50.0)), "Stage.quality.*1, 100"),
        (lambda: Stage(std=(-1.0, 2.0)), "Stage.std"),
        (lambda: Stage(gaussian=(-0.1, 0.1)), "Stage.gaussian"),
        (lambda: Stage(resize_probabilities=(0.0, 0.0, 0.0)), "resize_probabilities"),
        (lambda: RealEsrgan(scale=0), "RealEsrgan.scale"),
        (lambda: RealEsrgan(sinc_probability=2.0), "sinc_probability"),
        (lambda: Bsrgan(read=(-1.0, 0.0)), "Bsrgan.read"),
        (lambda: Bsrgan(scale=0), "Bsrgan.scale"),
        (lambda: RealEsrgan(scale=3)(KEY, jnp.ones((32, 33, 3))), "does not divide 32x33"),
        (lambda: Bsrgan(scale=1)(KEY, jnp.ones((8, 8, 1))), "1 channels"),
    ],
)
def test_bad_input_is_named(make, names):
    with pytest.raises(ValueError, match=names):
        make()
