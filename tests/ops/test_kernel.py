"""Blur kernels against SciPy, NumPy's closed forms, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from restore_jax.ops.kernel import disk, gaussian, generalised_gaussian, jinc, line, plateau, sinc, splat

SIZE = 9
EPS = 1.2e-7
PIXEL = np.zeros((SIZE, SIZE))
PIXEL[SIZE // 2, SIZE // 2] = 1.0
D = np.arange(SIZE) - SIZE // 2

EVERY = {
    "gaussian": lambda t, dtype: gaussian(SIZE, 1.5 * t, 0.7, 0.4, dtype),
    "generalised": lambda t, dtype: generalised_gaussian(SIZE, 1.5 * t, 0.7, 0.4, 0.6 * t, dtype),
    "plateau": lambda t, dtype: plateau(SIZE, 1.5 * t, 0.7, 0.4 * t, 1.3 * t, dtype),
    "sinc": lambda t, dtype: sinc(SIZE, 1.7 * t, dtype),
    "disk": lambda t, dtype: disk(SIZE, 2.3 * t, dtype),
    "line": lambda t, dtype: line(SIZE, 5.2 * t, 0.4, dtype),
    "splat": lambda t, dtype: splat(jnp.asarray([[0.3, 2.2], [-1.4, 9.0]], dtype) * t, SIZE),
}


def quadratic(std_x, std_y, angle):
    """`d^T S^-1 d` with S as a matrix, in numpy; x is the column, y the row."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([std_x**2, std_y**2]) @ turn.T)
    d = np.stack(np.meshgrid(D, D, indexing="xy"), axis=-1)
    return np.einsum("...i,ij,...j", d, inverse, d)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_all_sum_to_one_and_have_the_type_that_is_asked_for(double):
    """81 weights round by 81 eps at the most."""
    with jax.enable_x64(double):
        dtype = jnp.float64 if double else jnp.float32
        kernels = jax.jit(lambda t: [make(t, dtype) for make in EVERY.values()])(jnp.ones((), dtype))
    for name, kernel in zip(EVERY, kernels):
        assert (kernel.shape, kernel.dtype) == ((SIZE, SIZE), dtype), name
        assert abs(np.asarray(kernel).sum() - 1) < SIZE**2 * (2.3e-16 if double else EPS), name


def test_all_differentiate():
    """Beside a central difference of step h = 1e-5 in float64: its rounding is eps / h = 2e-11.

    It errs by h^2 / 6 = 2e-11 times a third derivative below 1e4, for kernels that change over a tenth of t or slower.
    """
    h = 1e-5
    with jax.enable_x64(True):
        every = lambda t: jnp.stack([make(t, jnp.float64) for make in EVERY.values()])
        slopes, before, after = jax.jit(lambda t: (jax.jacfwd(every)(t), every(t - h), every(t + h)))(jnp.ones(()))
        np.testing.assert_allclose(slopes, (after - before) / (2 * h), rtol=0, atol=2e-7)
    assert np.all(np.abs(slopes).max(axis=(1, 2)) > 1e-3)


def test_gaussians_are_their_formulas():
    """Float32 exponentials of arguments up to 40 round by 40 eps; weights are at most 1."""
    q = quadratic(1.5, 0.7, 0.4)
    for kernel, weights in (
        (gaussian(SIZE, 1.5, 0.7, 0.4), np.exp(-q / 2)),
        (generalised_gaussian(SIZE, 1.5, 0.7, 0.4, 0.6), np.exp(-(q**0.6) / 2)),
        (plateau(SIZE, 1.5, 0.7, 0.4, 1.3), 1 / (1 + q**1.3)),
    ):
        np.testing.assert_allclose(kernel, weights / weights.sum(), rtol=0, atol=40 * EPS)


def test_an_angle_turns_right_towards_down():
    """A thin Gaussian at 45 degrees lies along the main diagonal, as rows are counted downwards."""
    kernel = gaussian(SIZE, 3.0, 0.5, np.pi / 4)
    assert kernel[6, 6] > 100 * kernel[6, 2]
    stroke = line(SIZE, 7.0, np.pi / 4)
    assert stroke[6, 6] > 0
    assert stroke[6, 2] == 0


def test_limits_are_a_single_pixel():
    for kernel in (
        gaussian(SIZE, 0.0, 0.0, 0.3),
        generalised_gaussian(SIZE, 0.0, 0.0, 0.3, 2.0),
        disk(SIZE, 0.0),
        line(SIZE, 0.0, 0.3),
        splat(jnp.zeros((3, 2)), SIZE),
    ):
        np.testing.assert_allclose(kernel, PIXEL, rtol=0, atol=EPS)


def test_gradients_at_the_limits_are_finite():
    """Where std is 0 and powers of 0 and of huge numbers meet."""
    for kernel in (generalised_gaussian, plateau):
        energy = lambda p, kernel=kernel: jnp.sum(kernel(SIZE, p[0], p[1], p[2], p[3]) ** 2)
        assert np.all(np.isfinite(jax.jit(jax.grad(energy))(jnp.asarray([0.0, 1.0, 0.3, 20.0]))))
    assert np.isfinite(jax.jit(jax.grad(lambda cutoff: jnp.sum(sinc(SIZE, cutoff) ** 2)))(0.0))


def test_jinc_is_the_bessel_function():
    """2e-7 as said, and float32's rounding of a phase up to 30 (30 eps) times an amplitude of 1/2 at the most."""
    z = np.linspace(0.0, 30.0, 2000)
    single = np.asarray(jax.jit(jinc)(jnp.asarray(z, jnp.float32)), np.float64)
    assert single[0] == 0.5
    assert np.abs(z * single - scipy.special.j1(z)).max() < 2e-7 + 15 * EPS
    with jax.enable_x64(True):
        assert np.abs(z * np.asarray(jax.jit(jinc)(jnp.asarray(z))) - scipy.special.j1(z)).max() < 2e-7


def test_sinc_is_its_formula():
    """To the error of `jinc` where weights are below 1, divided by a sum of at least 1/4 (asserted)."""
    r = np.hypot(D[:, None], D[None, :])
    safe = np.where(r > 0, r, 1.0)
    weights = np.where(r > 0, 1.7 * scipy.special.j1(1.7 * safe) / (2 * np.pi * safe), 1.7**2 / (4 * np.pi))
    assert weights.sum() > 0.25
    np.testing.assert_allclose(sinc(SIZE, 1.7), weights / weights.sum(), rtol=0, atol=4 * 2e-6)


def test_sinc_passes_what_is_below_its_cutoff():
    """A large kernel's transform is 1 well below the cutoff and 0 well above it, to the ripple of the truncation."""
    kernel = np.asarray(sinc(61, 1.5), np.float64)
    response = np.abs(np.fft.fft2(kernel, (256, 256)))[0]
    frequency = 2 * np.pi * np.arange(256) / 256
    assert np.abs(response[frequency < 1.2] - 1).max() < 0.1
    assert response[(frequency > 1.8) & (frequency < np.pi)].max() < 0.1


def test_disk_is_even_and_as_wide_as_said():
    """Equal inside radius - 1/2, none outside radius + 1/2; E[r^2] = radius^2 / 2, the ramp adds 1/24."""
    r = np.hypot(*np.meshgrid(np.arange(31) - 15, np.arange(31) - 15))
    kernel = np.asarray(disk(31, 10.0), np.float64)
    inside = kernel[r < 9.5]
    np.testing.assert_allclose(inside, inside[0], rtol=1e-6)
    assert np.all(kernel[r > 10.5] == 0)
    assert abs(np.sum(kernel * r**2) - 50) < 0.5


def test_line_along_an_axis_is_a_box_under_a_tent():
    """`length = 5` covers -2.5 to 2.5: of a tent's area, 7/8 lies inside at the pixels 2 and -2, 1/8 at 3 and -3.

    36 points stand for the segment: an end is off by half a step, 5 / 72, of a tent's height there, 1/2, over 5.
    """
    expected = np.zeros((SIZE, SIZE))
    expected[4, 1:8] = np.array([1 / 8, 7 / 8, 1, 1, 1, 7 / 8, 1 / 8]) / 5
    for kernel in (line(SIZE, 5.0, 0.0), line(SIZE, 5.0, np.pi / 2).T):
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=5 / 72 / 2 / 5)


@pytest.mark.parametrize("angle", [0.3, 0.8, 2.0])
def test_line_has_the_variance_of_a_segment(angle):
    """Along it `length^2 / 12`, less 1 / n^2 of it for n points; a tent adds at most 1/4 to either variance."""
    kernel = np.asarray(line(41, 30.0, angle), np.float64)
    d = np.arange(41) - 20
    u = np.cos(angle) * d[None] + np.sin(angle) * d[:, None]
    v = np.cos(angle) * d[:, None] - np.sin(angle) * d[None]
    assert 75 - 0.01 < np.sum(kernel * u**2) < 75.26
    assert 0 < np.sum(kernel * v**2) < 0.26


def test_a_line_longer_than_the_grid_is_shortened_and_not_bent():
    np.testing.assert_array_equal(line(SIZE, 99.0, 0.7), line(SIZE, 8.0, 0.7))


def test_splat_shares_a_point_bilinearly():
    kernel = np.asarray(splat(jnp.asarray([[1.25, -2.5]]), SIZE))
    expected = np.zeros((SIZE, SIZE))
    expected[5:7, 1:3] = np.outer([0.75, 0.25], [0.5, 0.5])
    np.testing.assert_array_equal(kernel, expected)


def test_splat_keeps_the_centre_of_mass_and_holds_points_at_the_border():
    """Bilinear shares move no mass: to 50 eps of coordinates up to 3."""
    points = np.random.default_rng(0).uniform(-3, 3, (50, 2))
    kernel = np.asarray(splat(jnp.asarray(points, jnp.float32), SIZE), np.float64)
    np.testing.assert_allclose([kernel.sum(1) @ D, kernel.sum(0) @ D], points.mean(0), rtol=0, atol=50 * EPS)
    assert splat(jnp.asarray([[0.0, 99.0]]), SIZE)[4, 8] == 1


@pytest.mark.parametrize("size", [0, 4, -1])
def test_a_bad_size_is_refused(size):
    with pytest.raises(ValueError, match=f"odd number of pixels, 1 or more, not {size}"):
        disk(size, 1.0)
