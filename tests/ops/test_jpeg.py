"""JPEG against Pillow's libjpeg, SciPy's DCT, and what can be said of its gradient."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from PIL import Image

from restore_jax.data.sets.embedded import Embedded
from restore_jax.ops import jpeg
from restore_jax.ops.jpeg import forward_dct, from_blocks, hard, inverse_dct, low_pass_chroma, quantisation_tables

CODED = {"4:4:4": 0, "4:2:0": 2}  # Pillow's numbers
decoded = jax.jit(hard, static_argnums=2)
subsamplings = pytest.mark.parametrize("subsampling", CODED)


def by_pillow(pixels, quality, subsampling):
    file = io.BytesIO()
    image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
    image.save(file, "JPEG", quality=quality, subsampling=CODED[subsampling])
    return np.asarray(Image.open(file)).reshape(pixels.shape)


def by_us(pixels, quality, subsampling):
    y = decoded(jnp.asarray(pixels / 255, jnp.float32), jnp.asarray(quality, jnp.float32), subsampling)
    return np.asarray(jnp.round(255 * y), np.int32)


def difference(pixels, quality, subsampling):
    """Share of equal values, and the largest difference in grey levels."""
    apart = np.abs(by_us(pixels, quality, subsampling) - by_pillow(pixels, quality, subsampling))
    return np.mean(apart == 0), apart.max()


@pytest.fixture(scope="module")
def photographs():
    """Eyes of a cat, and the saturated roof of a temple: sides that are no multiple of 8, nor even."""
    return Embedded("heldout")[0][60:201, 130:303], Embedded("train")[3][150:301, 330:471]


@subsamplings
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90, 95])
def test_pixels_are_those_of_pillow(photographs, quality, subsampling):
    """Every one, with the fixed point of libjpeg's default transforms; another build may round one in a thousand by 1.

    One in a thousand by 1 is a PSNR of `20 log10(255) + 30 = 78 dB`.
    """
    for pixels in photographs:
        equal, largest = difference(pixels, quality, subsampling)
        assert equal >= 0.999
        assert largest <= 1


@subsamplings
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 4, 3), (16, 16, 3), (17, 5, 3), (9, 33, 3), (11, 23, 1)])
def test_any_size_is_padded_as_pillow_does(shape, subsampling):
    """Noise, so that each repeated row and column matters; widths of 1 and 2 chroma samples are not interpolated."""
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    equal, largest = difference(pixels, 90, subsampling)
    assert equal >= 0.999
    assert largest <= 1


def test_tables_are_those_of_pillow():
    ours = np.asarray(jax.jit(jax.vmap(quantisation_tables))(jnp.arange(1, 101)))
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        tables = Image.open(file).quantization
        np.testing.assert_array_equal(ours[quality - 1].reshape(2, 64), [tables[0], tables[1]])


@pytest.mark.parametrize(("quality", "whole"), [(0.0, 1), (29.6, 30), (30.4, 30), (250.0, 100)])
def test_quality_is_brought_to_a_whole_number_from_1_to_100(quality, whole):
    np.testing.assert_array_equal(quantisation_tables(quality), quantisation_tables(float(whole)))


def noise(shape=(2, 8, 8, 3)):
    return np.random.default_rng(1).integers(-128, 128, shape)


def test_forward_dct_is_that_of_scipy():
    """Times 8. Its constants are right to 1 in 8192 (`_integer_dct_matrix`), roundings add half a unit or so.

    The largest coefficient of noise is about 8 * 128: errors of 8 * 1024 / 8192 + 0.5 + 8 * 0.5 / 4 < 3.
    """
    ours = forward_dct(jnp.asarray(noise(), jnp.int32))
    exact = 8 * scipy.fft.dctn(noise().astype(float), axes=(1, 2), norm="ortho")
    assert np.abs(ours - exact).max() < 3
    assert np.abs(ours - exact).mean() < 0.5


def test_inverse_dct_inverts():
    """Coefficients rounded to whole numbers move a sample by at most their 64 halves / 8, by 0.3 as a rule."""
    coefficients = np.round(scipy.fft.dctn(noise().astype(float), axes=(1, 2), norm="ortho"))
    ours = inverse_dct(jnp.asarray(coefficients, jnp.int32))
    exact = scipy.fft.idctn(coefficients, axes=(1, 2), norm="ortho")
    assert np.abs(ours - exact).max() < 1
    assert np.abs(ours - noise()).max() <= 4


def test_one_frequency_lights_one_coefficient():
    """Rows are rows: a wave along the columns of a block, of frequency 3."""
    wave = np.round(100 * np.cos((2 * np.arange(8) + 1) * 3 * np.pi / 16))
    block = jnp.asarray(np.broadcast_to(wave[None, :, None], (8, 8, 1)), jnp.int32)
    strong = np.argwhere(np.abs(forward_dct(block)[..., 0]) > 100)
    np.testing.assert_array_equal(strong, [[0, 3]])


def test_blocks_are_put_back():
    plane = jnp.arange(2 * 16 * 24).reshape(2, 16, 24)
    blocks = jpeg.to_blocks(plane)
    np.testing.assert_array_equal(blocks[1, 1, 2, 5, 2], plane[1, 8 + 2, 16 + 5])
    np.testing.assert_array_equal(from_blocks(blocks), plane)


def test_forward_value_is_hard(photographs):
    """To the last bit, also where the gradient is taken."""
    x = jnp.asarray(photographs[0][:16, :24] / 255, jnp.float32)
    (_, y), _ = jax.jit(jax.value_and_grad(lambda x: (jnp.sum(y := jpeg.jpeg(x, 30.0)), y), has_aux=True))(x)
    np.testing.assert_array_equal(y, decoded(x, jnp.float32(30), "4:2:0"))


def test_gradient_is_that_of_a_codec_that_rounds_nothing():
    """The identity at 4:4:4; at 4:2:0 the transpose of `low_pass_chroma`, which leaves luma and flat colour alone."""
    x = jnp.asarray(np.random.default_rng(2).uniform(-0.2, 1.2, (6, 10, 3)), jnp.float32)
    v = jnp.asarray(np.random.default_rng(3).normal(size=x.shape), jnp.float32)
    pull = lambda f: jax.jit(lambda x, v: jax.vjp(f, x)[1](v)[0])(x, v)
    np.testing.assert_array_equal(pull(lambda x: jpeg.jpeg(x, 5.0, "4:4:4")), v)
    np.testing.assert_array_equal(pull(lambda x: jpeg.jpeg(x, 5.0, "4:2:0")), pull(low_pass_chroma))
    assert jax.jit(jax.grad(lambda q: jnp.sum(jpeg.jpeg(x, q))))(50.0) == 0


def test_chroma_alone_is_smoothed():
    """Grey pictures and flat colours pass; colours alternating by the pixel become their mean. 30 roundings of 1."""
    rng = np.random.default_rng(4)
    smoothed = jax.jit(low_pass_chroma)
    grey = jnp.asarray(np.repeat(rng.uniform(size=(5, 7, 1)), 3, -1), jnp.float32)
    np.testing.assert_allclose(smoothed(grey), grey, atol=30 * 1.2e-7)
    flat = jnp.broadcast_to(jnp.array([0.9, 0.2, 0.4]), (5, 7, 3))
    np.testing.assert_allclose(smoothed(flat), flat, atol=30 * 1.2e-7)
    sign = (-1.0) ** np.arange(8)[None, :, None] * np.ones((5, 1, 1))
    tint = jnp.asarray(sign[:, :7] * np.array([1 / 0.299, -1 / 0.587, 0.0]) * 0.1 + 0.5, jnp.float32)  # of one luma
    np.testing.assert_allclose(smoothed(tint)[:, :5], 0.5, atol=30 * 1.2e-7)


@subsamplings
def test_smooth_and_hard_are_one_codec(photographs, monkeypatch, subsampling):
    """With every quotient rounded hard in place of cubically, the smooth path differs by roundings of pixels alone.

    Colour rounds three times (to planes, from the transform, to RGB), each by 0.3 grey levels as a rule, chroma with
    gains up to 1.8. A coefficient on the verge of the next level moves by a step, at quality 80 of 40 at most, which
    is 40 / 4 in a pixel of its plane and 18 in RGB; that is rare. In the mean, a transform, scale, table or padding
    that is wrong costs more.
    """
    monkeypatch.setattr(jpeg, "_cubic_round", jnp.round)
    x = jnp.asarray(photographs[0][:33, :45] / 255, jnp.float32)
    smooth = jax.jit(jpeg._smooth, static_argnums=2)(x, 80.0, subsampling)
    apart = 255 * np.abs(smooth - decoded(x, jnp.float32(80), subsampling))
    assert apart.mean() < 1.5
    assert apart.max() < 25


def test_cubic_gradient_vanishes_for_what_is_lost():
    """A flat block is rounded at u = [u] + d: its gradient along the mean is 3 d^2, and 0 along lost frequencies.

    At quality 50 the step of DC is 16 and u = 8 (255 g - 128) / 16; g gives u = 10.25, so that d = 1/4.
    """
    grey = (10.25 * 2 + 128) / 255
    x = jnp.full((8, 8, 1), grey)
    wave = np.cos((2 * np.arange(8) + 1) * 3 * np.pi / 16)[None, :, None] * np.ones((8, 1, 1))
    push = jax.jit(lambda along: jax.jvp(lambda x: jpeg.jpeg(x, 50.0, rounding="cubic"), (x,), (along,))[1])
    np.testing.assert_allclose(push(jnp.ones_like(x)), 3 / 16, atol=1e-4)
    np.testing.assert_allclose(push(jnp.asarray(wave, jnp.float32)), 0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "options", "said"),
    [
        (4, {}, r"1 or 3 channels, not 4"),
        (3, {"subsampling": "4:1:1"}, r"subsampling is one of .*4:2:0.*, not '4:1:1'"),
        (3, {"rounding": "none"}, r"rounding is one of .*cubic.*, not 'none'"),
    ],
)
def test_errors_say_what_is_allowed(channels, options, said):
    with pytest.raises(ValueError, match=said):
        jpeg.jpeg(jnp.zeros((8, 8, channels)), 50.0, **options)
