"""Resampling: what Keys' kernel reproduces, MATLAB's weights by hand and its files exactly, Pillow's other kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.ops.resize import KERNELS, cubic, imresize_uint8, lanczos, linear, resize, resize_weights, separable

SIZES = [(12, 6), (12, 3), (12, 5), (12, 24), (12, 17), (7, 7), (1, 4), (4, 1)]
EPS64 = 2.3e-16


def test_cubic_interpolates():
    """1 at 0, 0 at the other whole numbers, and copies of it sum to 1 wherever they stand."""
    np.testing.assert_array_equal(cubic(np.arange(-3.0, 4.0)), [0, 0, 0, 1, 0, 0, 0])
    for offset in np.linspace(0, 1, 7):
        assert abs(cubic(np.arange(-3, 4) + offset).sum() - 1) < 10 * EPS64


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_rows_sum_to_one(n_in, n_out, antialias, kernel):
    weights = resize_weights(n_in, n_out, antialias, kernel)
    assert weights.shape == (n_out, n_in)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=20 * EPS64)


def test_halving_by_hand():
    """An inner row of MATLAB's antialiased halving: the kernel at +-1/4, 3/4, 5/4, 7/4, halved."""
    row = resize_weights(12, 6)[2]
    side = cubic(np.array([1.75, 1.25, 0.75, 0.25])) / 2
    np.testing.assert_allclose(row[1:9], [*side, *side[::-1]], atol=10 * EPS64)
    np.testing.assert_array_equal(row[[0, 9, 10, 11]], 0)


def test_borders_are_mirrored_with_the_edge_repeated():
    """As if the signal went ... 2 1 0 | 0 1 2 ...: the same weights on a signal that is mirrored by hand."""
    x = np.random.default_rng(0).uniform(size=12)
    long = np.concatenate([x[::-1], x, x[::-1]])
    for n_out in (3, 6, 24):
        middle = slice(n_out, 2 * n_out)
        np.testing.assert_allclose(
            resize_weights(12, n_out) @ x, (resize_weights(36, 3 * n_out) @ long)[middle], atol=20 * EPS64
        )


@pytest.mark.parametrize(("n_in", "n_out"), [(24, 12), (24, 8), (12, 24), (12, 30), (24, 18)])
def test_a_ramp_stays_a_ramp(n_in, n_out):
    """Away from the borders, when doubling or halving alike: sample i of the output stands at (i + 1/2) n_in / n_out.

    Exact for the interpolating kernel (Keys, eq. 10); a widened kernel is symmetric about its centre and sums to 1
    before normalisation, which suffices at whole-number reductions only.
    """
    where = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    widened = n_out < n_in
    reach = 2 * max(n_in / n_out, 1)
    inside = (where > reach) & (where < n_in - 1 - reach)
    assert inside.any()
    moved = (resize_weights(n_in, n_out) @ np.arange(n_in))[inside] - where[inside]
    if not widened or n_in % n_out == 0:
        np.testing.assert_allclose(moved, 0, atol=50 * n_in * EPS64)
    np.testing.assert_allclose(
        (resize_weights(n_in, n_out, antialias=False) @ np.arange(n_in) - where)[inside], 0, atol=1e-13
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_size_is_the_identity(kernel):
    """The sinc of a whole number is 0 to the rounding of pi alone."""
    for n in (1, 2, 7):
        np.testing.assert_allclose(resize_weights(n, n, kernel=kernel), np.eye(n), atol=EPS64)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 6, 5, 3)), jnp.float32)
    np.testing.assert_allclose(resize(x, 6, 5, kernel=kernel), x, atol=4 * EPS64 if kernel == "lanczos" else 0)


def test_resize_is_its_matrices():
    """In float64 by numpy, on a batch; 17 + 12 terms of weights below 1.3 in all."""
    x = np.random.default_rng(0).uniform(size=(2, 12, 7, 3))
    reference = np.einsum("ph,qw,bhwc->bpqc", resize_weights(12, 5), resize_weights(7, 9), x)
    with jax.enable_x64(True):
        np.testing.assert_allclose(resize(jnp.asarray(x), 5, 9), reference, rtol=0, atol=40 * EPS64)
    y = resize(jnp.asarray(x, jnp.float32), 5, 9)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, reference, rtol=0, atol=40 * 1.2e-7)


def test_separables_compose():
    """First one pair of matrices, then another, is the pair of products."""
    draw = np.random.default_rng(0)
    x, a, b, c, d = (
        jnp.asarray(draw.uniform(size=s) / 6, jnp.float32) for s in [(6, 5, 2), (4, 6), (3, 5), (2, 4), (5, 3)]
    )
    np.testing.assert_allclose(separable(separable(x, a, b), c, d), separable(x, c @ a, d @ b), rtol=20 * 1.2e-7)


def test_up_and_down_again_is_near():
    """Not exact, cubics are no projection; but a smooth picture comes back to a hundredth."""
    i = np.arange(16) / 16
    x = jnp.asarray(
        0.5 + 0.5 * np.sin(2 * np.pi * i)[:, None, None] * np.cos(2 * np.pi * i)[None, :, None], jnp.float32
    )
    assert jnp.abs(resize(resize(x, 32, 32), 16, 16) - x)[2:-2, 2:-2].max() < 0.01


@pytest.mark.parametrize(("n_in", "n_out"), [(0, 4), (4, 0)])
def test_nothing_cannot_be_resampled(n_in, n_out):
    with pytest.raises(ValueError, match=f"Cannot resample {n_in} samples to {n_out}: both must be at least 1"):
        resize_weights(n_in, n_out)


def test_weights_are_kept_and_cannot_be_changed():
    assert resize_weights(12, 6) is resize_weights(12, 6)
    with pytest.raises(ValueError, match="read-only"):
        resize_weights(12, 6)[0, 0] = 1


@pytest.mark.parametrize("kernel", [linear, lanczos])
def test_the_other_kernels_interpolate(kernel):
    """1 at 0 and 0 at the other whole numbers; beyond its support nothing; `lanczos(1/2)` by hand is 6 / pi^2."""
    np.testing.assert_allclose(kernel(np.arange(-4.0, 5.0)), np.arange(-4, 5) == 0, atol=EPS64)
    assert not kernel(np.array([-3.5, 3.01, 9.0])).any()
    assert abs(kernel(np.array([0.5]))[0] - {linear: 0.5, lanczos: 6 / np.pi**2}[kernel]) < 4 * EPS64


@pytest.mark.parametrize(("kernel", "method"), [("linear", "BILINEAR"), ("lanczos", "LANCZOS")])
@pytest.mark.parametrize(("n_in", "n_out"), [(24, 12), (24, 9), (12, 30)])
def test_pillow_weighs_alike(kernel, method, n_in, n_out):
    """Away from the borders, where Pillow drops what lies outside and we mirror. Pillow stores float32: half an ulp."""
    eye = Image.fromarray(np.eye(n_in, dtype=np.float32))
    theirs = np.asarray(eye.resize((n_in, n_out), getattr(Image.Resampling, method)))
    ours = resize_weights(n_in, n_out, kernel=kernel)
    reach = 3 * max(n_in / n_out, 1) + 1
    where = (np.arange(n_out) + 0.5) * n_in / n_out
    inside = (where > reach) & (where < n_in - reach)
    assert inside.any()
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1.2e-7)


def test_box_is_the_mean_over_an_area():
    """Whole reductions are means of blocks; 3 to 2 takes one and a half pixels each; doubling repeats."""
    np.testing.assert_array_equal(resize_weights(6, 2, kernel="box"), np.repeat(np.eye(2), 3, axis=1) / 3)
    np.testing.assert_allclose(resize_weights(3, 2, kernel="box"), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], atol=EPS64)
    np.testing.assert_array_equal(resize_weights(3, 6, kernel="box"), np.repeat(np.eye(3), 2, axis=0))
    # The mean of the whole stays, at any sizes: every old pixel is shared out completely.
    np.testing.assert_allclose(resize_weights(12, 5, kernel="box").sum(axis=0), 5 / 12, atol=10 * EPS64)


def test_box_without_antialias_is_the_nearest():
    np.testing.assert_array_equal(resize_weights(9, 3, antialias=False, kernel="box"), np.eye(9)[[1, 4, 7]])
    np.testing.assert_array_equal(resize_weights(4, 2, antialias=False, kernel="box"), np.eye(4)[[0, 2]])


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel must be one of cubic, box, lanczos, linear, not 'sinc'"):
        resize_weights(4, 2, kernel="sinc")


def levels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def pairs(shared, name):
    """The photographs of an evaluation set and the literature's x4 reductions of them."""
    folder = shared / f"data/eval/{name}"
    if name == "Set5":
        return [(p, folder / f"LR_bicubic/X4/{p.stem}x4.png") for p in sorted((folder / "HR").glob("*.png"))]
    if name == "Set14":
        small = sorted((folder / "LR_bicubic/X4").glob("*.png"))
        return list(zip(sorted((folder / "HR").glob("*.png")), small, strict=True))[4:5]
    lines = [line.split() for line in (folder / "B100_index.txt").read_text().splitlines()[:3]]
    return [(folder / f"original_jpg/{b}.jpg", folder / f"LR_bicubic/X4/{a}_SRF_4_LR.png") for a, b in lines]


@pytest.mark.parametrize(("name", "boundary"), [("Set5", "mirror"), ("Set14", "edge"), ("BSD100", "edge")])
def test_matlab_files_exactly(shared, name, boundary):
    """Every number, also in float32, for x4: weights and sums are binary fractions that it holds without rounding."""
    for large, small in pairs(shared, name):
        x = levels(large)
        h, w = (side - side % 4 for side in x.shape[:2])
        y = imresize_uint8(jnp.asarray(x[:h, :w]), h // 4, w // 4, boundary)
        assert y.dtype == jnp.uint8
        np.testing.assert_array_equal(y, levels(small))


def test_matlab_rounds_between_its_passes():
    """The axis that shrinks more goes first, and is rounded and clipped by itself: by numpy, in doubles."""
    x = np.random.default_rng(0).integers(0, 256, (12, 16, 2)).astype(np.uint8)
    rounded = lambda v: np.clip(np.floor(v + 0.5), 0, 255)
    rows, cols = resize_weights(12, 6), resize_weights(16, 4)
    expected = rounded(np.einsum("ph,hqc->pqc", rows, rounded(np.einsum("qw,hwc->hqc", cols, x))))
    np.testing.assert_array_equal(imresize_uint8(jnp.asarray(x), 6, 4), expected)
    other = rounded(np.einsum("qw,pwc->pqc", cols, rounded(np.einsum("ph,hwc->pwc", rows, x))))
    assert (other != expected).any()


def test_imresize_refuses_what_it_cannot_do():
    x = jnp.zeros((4, 4, 1), jnp.uint8)
    with pytest.raises(ValueError, match=r"imresize_uint8: boundary must be 'mirror' or 'edge', not 'wrap'"):
        imresize_uint8(x, 2, 2, "wrap")
    with pytest.raises(ValueError, match=r"cannot resize 4x4 to 0x2: every side must be at least 1"):
        imresize_uint8(x, 0, 2)
