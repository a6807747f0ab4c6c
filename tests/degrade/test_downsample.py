"""Reduction against MATLAB's, on the literature's own files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.degrade.downsample import Downsample
from restore_jax.ops.resize import resize


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def to_grey_levels(x):
    return jnp.clip(jnp.floor(255 * x + 0.5), 0, 255) / 255


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_is_the_bicubic_of_the_literature(shared, scale):
    """Set5's LR files were made by `imresize`, which rounds to 8 bits after the rows and again after the columns.

    What remains are ties that float32 and MATLAB's double break differently: one grey level, rarely.
    """
    small = jax.jit(
        lambda x, h: to_grey_levels(resize(to_grey_levels(resize(x, h, x.shape[1])), h, x.shape[1] // scale)),
        static_argnums=1,
    )
    for path in sorted((shared / "data/eval/Set5/HR").glob("*.png")):
        x = read(path)
        h, w = (side - side % scale for side in x.shape[:2])
        y = np.asarray(255 * small(jnp.asarray(x[:h, :w] / np.float32(255)), h // scale))
        reference = read(shared / f"data/eval/Set5/LR_bicubic/X{scale}/{path.stem}x{scale}.png")
        off = np.abs(np.rint(y) - reference)
        assert off.max() <= 1
        assert np.mean(off == 0) >= 0.99


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_is_the_resize_of_ops(key, scale):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(16, 12, 3)), jnp.float32)
    obs = Downsample(scale=scale)(key, x)
    assert obs.y.shape == (16 // scale, 12 // scale, 3)
    np.testing.assert_array_equal(obs.y, resize(x, 16 // scale, 12 // scale))


def test_a_constant_stays(key):
    """Two sums of at most 4 scale = 16 weights that sum to 1 in all, their sizes to less than 1.5: 2 * 16 * 1.5 eps."""
    y = Downsample(scale=4)(key, jnp.full((16, 12, 3), 0.3)).y
    np.testing.assert_allclose(y, 0.3, rtol=48 * 1.2e-7)


@pytest.mark.parametrize("kernel", ["box", "lanczos", "linear"])
def test_takes_every_kernel(key, kernel):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 12, 3)), jnp.float32)
    y = Downsample(scale=2, kernel=kernel)(key, x).y
    np.testing.assert_array_equal(y, resize(x, 4, 6, kernel=kernel))


def test_a_box_is_the_mean_of_its_block(key):
    """Two sums of 4 weights of 1/4: 8 roundings."""
    x = np.random.default_rng(0).uniform(size=(8, 12, 3))
    y = Downsample(scale=4.0, kernel="box")(key, jnp.asarray(x, jnp.float32)).y
    np.testing.assert_allclose(y, x.reshape(2, 4, 3, 4, 3).mean(axis=(1, 3)), rtol=0, atol=8 * 1.2e-7)


@pytest.mark.parametrize(("scale", "shape"), [(1.6, (10, 8)), (2.5, (6, 5)), (1.0, (16, 12)), (30.0 / 2.1, (1, 1))])
def test_any_scale_rounds_the_size(key, scale, shape):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(16, 12, 3)), jnp.float32)
    obs = Downsample(scale=scale)(key, x)
    assert obs.y.shape == (*shape, 3)
    np.testing.assert_array_equal(obs.y, resize(x, *shape))


@pytest.mark.parametrize("scale", [0, 0.5, float("nan"), float("inf")])
def test_a_scale_below_one_is_refused(scale):
    with pytest.raises(ValueError, match=rf"Downsample\.scale must be a number >= 1, not {scale}"):
        Downsample(scale=scale)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match=r"Downsample\.kernel must be one of cubic, box, lanczos, linear, not 'area'"):
        Downsample(kernel="area")


@pytest.mark.parametrize("scale", [4, 4.0])
def test_a_side_that_does_not_divide_is_refused(key, scale):
    with pytest.raises(ValueError, match=r"scale = 4 does not divide 16x10: crop the picture first"):
        Downsample(scale=scale)(key, jnp.zeros((16, 10, 3)))


def test_a_scale_that_leaves_nothing_is_refused(key):
    with pytest.raises(ValueError, match=r"scale = 20\.5 leaves nothing of 16x10"):
        Downsample(scale=20.5)(key, jnp.zeros((16, 10, 3)))
