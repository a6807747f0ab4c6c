"""Blurs against SciPy's, what a blur must keep, and kernels from files."""

from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import scipy.ndimage
from PIL import Image

from restore_jax.degrade.blur import (
    AnisotropicGaussian,
    Defocus,
    GaussianBlur,
    GeneralisedGaussian,
    HandShake,
    Motion,
    Plateau,
    Psf,
    Sinc,
    SpatiallyVarying,
)
from restore_jax.degrade.linear import Convolution, PaddedConvolution

H, W = 16, 12


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(H, W, 3))


@pytest.mark.parametrize("std", [0.3, 1.2, 2.0, W / 3])
def test_equals_scipy(key, x, std):
    """SciPy's "reflect" repeats the edge, as we do; its kernel is cut at 8 std, beyond double precision.

    We leave out images from 2 n + 1 on: exp(-(2 n + 1)^2 / 2 std^2) of a kernel whose sum is 2.5 std, and
    those behind weigh less than as much again.
    """
    left_out = sum(2 * np.exp(-((2 * n + 1) ** 2) / (2 * std**2)) / (2.5 * std) for n in (H, W))
    with jax.enable_x64(True):
        y = GaussianBlur(std=std)(key, jnp.asarray(x)).y
    reference = scipy.ndimage.gaussian_filter(x, (std, std, 0), mode="reflect", truncate=8.0)
    np.testing.assert_allclose(y, reference, rtol=0, atol=1e-14 + left_out)


def test_keeps_constants_and_the_mean(key, x):
    """Rows and columns of the weights sum to 1; float32 sums of n <= 16 terms round by n eps at most, twice."""
    blur = GaussianBlur(std=2.0)
    np.testing.assert_allclose(blur(key, jnp.full((H, W, 3), 0.7)).y, 0.7, rtol=2 * 16 * 1.2e-7)
    y = blur(key, jnp.asarray(x, jnp.float32)).y
    np.testing.assert_allclose(np.asarray(y, np.float64).mean(axis=(0, 1)), x.mean(axis=(0, 1)), rtol=2 * 16 * 1.2e-7)


def test_none_at_all_is_the_identity(key, x):
    x = jnp.asarray(x, jnp.float32)
    np.testing.assert_array_equal(GaussianBlur(std=0.0)(key, x).y, x)


def test_width_is_drawn_for_each_picture(x):
    x = jnp.asarray(x, jnp.float32)
    obs = jax.vmap(GaussianBlur(std=(0.5, 2.0)), (0, None))(jax.random.split(jax.random.key(0), 3), x)
    sharpness = np.std(obs.y, axis=(1, 2, 3))
    assert len(np.unique(sharpness)) == 3
    assert obs.operator.rows.shape == (3, H, H)


@pytest.mark.parametrize("std", [-1.0, (2.0, 1.0)])
def test_a_bad_width_is_refused(std):
    with pytest.raises(ValueError, match=r"GaussianBlur\.std must be a number or a rising pair in \[0, inf\]"):
        GaussianBlur(std=std)


EPS = 1.2e-7
KERNEL = np.random.default_rng(3).uniform(size=(5, 5))


def mass(kernel):
    """The centre of mass (row, column) from the middle, and the spread about it."""
    kernel = np.asarray(kernel, np.float64)
    d = np.arange(len(kernel)) - len(kernel) // 2
    middle = np.array([kernel.sum(1) @ d, kernel.sum(0) @ d])
    return middle, kernel.sum(1) @ d**2 + kernel.sum(0) @ d**2 - middle @ middle


def test_anisotropic_gaussian_equals_scipys(key, x):
    """Without an angle it is separable, cut at a radius of 5. Float32: 11 terms, twice, and transforms."""
    blur = AnisotropicGaussian(std_x=1.3, std_y=0.7, angle=0.0, size=11, boundary="symmetric")
    y = blur(key, jnp.asarray(x, jnp.float32)).y
    reference = scipy.ndimage.gaussian_filter(x, (0.7, 1.3, 0), mode="reflect", radius=(5, 5, 0))
    np.testing.assert_allclose(y, reference, rtol=0, atol=50 * EPS)


def test_the_boundary_decides_the_operator(key, x):
    x = jnp.asarray(x, jnp.float32)
    for boundary, kind in (("circular", Convolution), ("reflect", PaddedConvolution)):
        obs = Defocus(radius=2.0, size=5, boundary=boundary)(key, x)
        assert type(obs.operator) is kind
        reference = scipy.ndimage.convolve(
            np.asarray(x), np.asarray(obs.operator.kernel)[..., None], mode="wrap" if kind is Convolution else "mirror"
        )
        np.testing.assert_allclose(obs.y, reference, rtol=0, atol=50 * EPS)


def test_parameters_are_drawn_for_each_picture():
    """Every parameter moves the kernel by itself: fixing all others leaves the kernels different."""
    keys = jax.random.split(jax.random.key(0), 3)
    for blur in (
        AnisotropicGaussian(std_x=(0.5, 3.0), std_y=1.0, angle=0.3, size=7),
        GeneralisedGaussian(std_x=2.0, std_y=1.0, angle=0.3, shape=(0.5, 4.0), size=7),
        Plateau(std_x=2.0, std_y=1.0, angle=(0.0, pi), shape=1.5, size=7),
        Motion(length=5.0, angle=(0.0, pi), size=7),
        HandShake(length=5.0, inertia=0.9, size=7),
    ):
        drawn = np.asarray(jax.jit(jax.vmap(lambda one, blur=blur: blur.kernel(one, jnp.float32)))(keys))
        np.testing.assert_allclose(drawn.sum((1, 2)), 1, rtol=0, atol=49 * EPS)
        assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
        assert np.abs(drawn[1] - drawn[2]).max() > 1e-3


def test_hand_shake_stays_centred_and_spreads_with_length():
    """The centre of mass is the kernel's, to the rounding of 124 points; 0 moves nothing.

    A path of length L spreads by L^2 / 12 at the most where it is straight and even, and always by less than L^2 / 4;
    a tent adds at most 1/4 in either direction. Memory straightens it: the spread grows.
    """
    keys = jax.random.split(jax.random.key(0), 16)
    spread = {}
    for length, inertia in ((0.0, 0.9), (16.0, 0.3), (16.0, 1.0)):
        blur = HandShake(length=length, inertia=inertia, size=31)
        drawn = np.asarray(jax.jit(jax.vmap(lambda one, blur=blur: blur.kernel(one, jnp.float32)))(keys))
        middles, spreads = zip(*map(mass, drawn))
        assert np.abs(middles).max() < 1e-4
        spread[length, inertia] = np.mean(spreads)
        assert np.max(spreads) < length**2 / 4 + 0.5
    assert spread[0.0, 0.9] < 1e-6
    assert spread[16.0, 1.0] > 3 * spread[16.0, 0.3] > 1.0


def test_a_kernel_from_an_array_file(tmp_path, key, x):
    """A stack, numbered from 0, each kernel scaled to 1; the result is SciPy's, the adjoint the transpose."""
    np.save(tmp_path / "two.npy", np.stack([np.eye(3), KERNEL[:3, :3]]))
    x = jnp.asarray(x, jnp.float32)
    obs = Psf(path=str(tmp_path / "two.npy"), index=1, boundary="replicate")(key, x)
    kernel = KERNEL[:3, :3] / KERNEL[:3, :3].sum()
    np.testing.assert_allclose(obs.operator.kernel, kernel, rtol=EPS)
    reference = scipy.ndimage.convolve(np.asarray(x), kernel[..., None], mode="nearest")
    np.testing.assert_allclose(obs.y, reference, rtol=0, atol=50 * EPS)
    v = jnp.asarray(np.random.default_rng(5).normal(size=x.shape), jnp.float32)
    left, right = np.sum(obs.y * v), np.sum(x * obs.operator.adjoint(v))
    assert abs(left - right) < 1e-5 * np.linalg.norm(obs.y) * np.linalg.norm(v)


def test_a_kernel_from_matlab(tmp_path):
    """A cell array and a stack by number, in the order of the file, and what is no kernel is passed over."""
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.eye(3), KERNEL
    scipy.io.savemat(tmp_path / "cells.mat", {"label": "not a kernel", "basis": np.ones((15, 225)), "kernels": cells})
    scipy.io.savemat(tmp_path / "stack.mat", {"kernels": np.stack([np.eye(5), KERNEL], axis=2)})
    for name in ("cells.mat", "stack.mat"):
        kernel = Psf(path=str(tmp_path / name), index=1).kernel(jax.random.key(0), jnp.float32)
        np.testing.assert_allclose(kernel, KERNEL / KERNEL.sum(), rtol=2 * EPS)
    scipy.io.savemat(tmp_path / "none.mat", {"basis": np.ones((15, 225))})
    with pytest.raises(ValueError, match=r"none\.mat holds no kernel, .* basis \(15, 225\)"):
        Psf(path=str(tmp_path / "none.mat"))


def test_a_kernel_from_a_picture_of_an_even_size(tmp_path):
    """It gets a row and a column of zeros at the end, so that pixel (2, 2) of 4 x 4 stays the centre."""
    picture = (255 * KERNEL[:4, :4]).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "kernel.png")
    kernel = Psf(path=str(tmp_path / "kernel.png")).kernel(jax.random.key(0), jnp.float32)
    assert kernel.shape == (5, 5)
    np.testing.assert_allclose(kernel[:4, :4], picture / picture.sum(), rtol=2 * EPS)
    assert np.all(kernel[4] == 0)


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("Levin09.mat", 8, 19),
        ("kernels_12.mat", 12, 25),
        ("kernels_bicubicx234.mat", 3, 25),
        ("k_large_1.png", 1, 67),
        ("k_large_2.png", 1, 71),
    ],
)
def test_the_measured_kernels_load(shared, name, count, size):
    path = shared / "data/eval/blur_kernels" / name
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    if name == "Levin09.mat":
        pytest.importorskip("h5py", reason="MATLAB's HDF5 files need h5py")
    for index in {0, count - 1}:
        kernel = np.asarray(Psf(path=str(path), index=index).kernel(jax.random.key(0), jnp.float32), np.float64)
        assert abs(kernel.sum() - 1) < 1e-5
        assert index > 0 or kernel.shape == (size, size)
    with pytest.raises(ValueError, match=rf"Psf\.index must be in \[0, {count - 1}\]"):
        Psf(path=str(path), index=count)


def test_spatially_varying_of_one_kernel_is_that_blur(key, x):
    """Windows sum to 1; a few transforms' rounding. With kernels that differ, it is another picture."""
    x = jnp.asarray(x, jnp.float32)
    blur = Defocus(radius=2.0, size=5)
    y = SpatiallyVarying(blur=blur, grid=2)(key, x).y
    np.testing.assert_allclose(y, blur(key, x).y, rtol=0, atol=50 * EPS)
    drawn = SpatiallyVarying(blur=Motion(length=4.0, size=5), grid=2)(key, x).operator.kernels
    assert drawn.shape == (2, 2, 5, 5)
    assert len(np.unique(np.asarray(drawn).reshape(4, 25), axis=0)) == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sinc(size=4), r"Sinc\.size must be an odd number of pixels, 1 or more, not 4"),
        (lambda: Sinc(cutoff=4.0), r"Sinc\.cutoff must be .* in \[0, 3\.14159\], not 4\.0"),
        (lambda: Plateau(boundary="wrap"), r"Plateau\.boundary must be one of circular, reflect, .*, not 'wrap'"),
        (lambda: AnisotropicGaussian(std_y=-1.0), r"AnisotropicGaussian\.std_y must be .* in \[0, inf\]"),
        (lambda: GeneralisedGaussian(shape=0.0), r"GeneralisedGaussian\.shape must be .* in \[0\.1, 20\]"),
        (lambda: Defocus(radius=3.0, size=5), r"Defocus\.radius must be .* in \[0, 2\.5\]"),
        (lambda: Motion(length=(1.0, 6.0), size=5), r"Motion\.length must be .* in \[0, 4\]"),
        (lambda: HandShake(inertia=1.5), r"HandShake\.inertia must be .* in \[0, 1\]"),
        (lambda: Psf(path="nowhere.mat"), r"Psf\.path: there is no file nowhere\.mat"),
        (lambda: Psf(), r"Psf wants either a path or weights"),
        (lambda: Psf(weights=((0.0, 1.0), (1.0,))), r"Psf\.weights must be rows of one length"),
        (lambda: Psf(weights=((1.0,),), index=1), r"Psf\.index must be in \[0, 0\]"),
        (lambda: SpatiallyVarying(blur=GaussianBlur()), r"SpatiallyVarying\.blur must be a blur that has a kernel"),
        (lambda: SpatiallyVarying(blur=Sinc(), grid=0), r"SpatiallyVarying\.grid must be 1 or more, not 0"),
    ],
)
def test_bad_fields_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("blur", "words"),
    [
        (Sinc(size=13), r"Sinc\.size: the kernel, 13 x 13, must not be larger than the picture, 16 x 12"),
        (Psf(weights=((1.0,) * 13,) * 13), r"Psf: number 0 of weights: the kernel, 13 x 13"),
        (SpatiallyVarying(blur=Sinc(size=13)), r"SpatiallyVarying\.blur: the kernel, 13 x 13"),
        (SpatiallyVarying(blur=Sinc(size=3), grid=13), r"SpatiallyVarying\.grid must be at most 12"),
    ],
)
def test_a_kernel_larger_than_the_picture_is_refused(key, blur, words):
    with pytest.raises(ValueError, match=words):
        blur(key, jnp.zeros((H, W, 3)))
