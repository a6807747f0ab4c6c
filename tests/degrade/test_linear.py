"""The algebra of operators, against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Operator, pinv
from restore_jax.degrade.linear import (
    Compose,
    Convolution,
    Identity,
    PaddedConvolution,
    PatchConvolution,
    Scale,
    Separable,
    Stack,
    compose,
    norm,
)
from restore_jax.degrade.mask import Mask

SHAPE = (6, 5, 2)
EPS = 1.2e-7

solve = jax.jit(lambda a, r, reg: a.solve(r, reg))


def separable(seed, p, q, h=SHAPE[0], w=SHAPE[1], c=SHAPE[2]):
    """Uniform weights, rows summing to 1 as those of blurs and resampling do."""
    draw = np.random.default_rng(seed)
    rows, cols = draw.uniform(size=(p, h)), draw.uniform(size=(q, w))
    rows, cols = rows / rows.sum(1, keepdims=True), cols / cols.sum(1, keepdims=True)
    return Separable(in_shape=(h, w, c), rows=jnp.asarray(rows, jnp.float32), cols=jnp.asarray(cols, jnp.float32))


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(9).uniform(size=SHAPE), jnp.float32)


@pytest.fixture
def mask():
    return Mask(in_shape=SHAPE, mask=jnp.asarray(np.arange(30).reshape(6, 5, 1) % 3 > 0, jnp.float32))


def same(a, b, n):
    """Values up to 1, from weights that sum to 1: n eps for sums of n terms in all."""
    np.testing.assert_allclose(a, b, rtol=0, atol=n * EPS)


def test_identity(x):
    one = Identity(in_shape=SHAPE)
    np.testing.assert_array_equal(one(x), x)
    np.testing.assert_array_equal(one.adjoint(x), x)
    np.testing.assert_array_equal(one.solve(x, 3.0), x / 4)


def test_separable_is_the_kronecker_product(x):
    a = separable(0, 4, 3)
    matrix = np.kron(np.asarray(a.rows, np.float64), np.asarray(a.cols, np.float64))
    same(a(x), (matrix @ np.asarray(x, np.float64).reshape(30, 2)).reshape(4, 3, 2), 11)


def test_separable_solve_is_that_of_the_matrix():
    """In float64, by numpy: `(A A^T + reg)^-1 r`, condition number < 1.1 / reg = 110."""
    with jax.enable_x64(True):
        a = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), separable(0, 4, 3))
        r = np.random.default_rng(1).normal(size=(4, 3, 2))
        matrix = np.kron(a.rows, a.cols)
        reference = np.linalg.solve(matrix @ matrix.T + 0.01 * np.eye(12), r.reshape(12, 2)).reshape(r.shape)
        np.testing.assert_allclose(solve(a, jnp.asarray(r), 0.01), reference, rtol=0, atol=110 * 12 * 2.3e-16 * 100 * 3)


def test_separable_solve_gives_up_what_is_not_there():
    """A rank-1 operator: its pseudo-inverse is numpy's, and nothing is blown up."""
    with jax.enable_x64(True):
        a = Separable(in_shape=SHAPE, rows=jnp.full((4, 6), 1 / 6), cols=jnp.eye(5)[:3])
        y = np.random.default_rng(2).normal(size=(4, 3, 2))
        reference = np.linalg.pinv(np.kron(a.rows, a.cols)) @ y.reshape(12, 2)
        x = a.adjoint(solve(a, jnp.asarray(y), 0.0))
        # A^+ has norm sqrt(6) / 2 < 2: 12 terms of rounding in values up to 4
        np.testing.assert_allclose(x, reference.reshape(SHAPE), rtol=0, atol=2 * 12 * 4 * 2.3e-16)


def test_identity_composes_away(mask):
    one = Identity(in_shape=SHAPE)
    assert compose(one, mask) is mask
    assert compose(mask, one) is mask
    assert compose(one, one) == one


def test_separables_stay_separable(x):
    inner, outer = separable(3, 4, 5), separable(4, 2, 3, h=4, w=5)
    short, long = compose(outer, inner), Compose(in_shape=SHAPE, outer=outer, inner=inner)
    assert isinstance(short, Separable)
    assert short.in_shape == SHAPE
    same(short(x), long(x), 6 + 5 + 4 + 5)
    y = jnp.ones((2, 3, 2))
    same(short.adjoint(y), long.adjoint(y), 6 + 5 + 4 + 5)


def test_others_compose_in_order(x, mask):
    blur = separable(5, 6, 5)
    holes_last, holes_first = compose(mask, blur), compose(blur, mask)
    same(holes_last(x), mask(blur(x)), 0)
    same(holes_first(x), blur(mask(x)), 0)
    assert float(jnp.abs(holes_last(x) - holes_first(x)).max()) > 0.1


def test_adjoint_is_reversed(x, mask):
    blur = separable(5, 6, 5)
    same(compose(mask, blur).adjoint(x), blur.adjoint(mask.adjoint(x)), 0)
    by_transpose = Operator.adjoint(compose(mask, blur), x)
    # columns of uniform weights need not sum to 1: at most 6 * 5 weights below 1, of which each row shares 1
    np.testing.assert_allclose(compose(mask, blur).adjoint(x), by_transpose, rtol=11 * EPS)


def test_composition_is_associative(x, mask):
    a, b = separable(6, 6, 5), separable(7, 3, 5)
    same(compose(compose(b, mask), a)(x), compose(b, compose(mask, a))(x), 22)
    same(compose(compose(b, a), mask)(x), compose(b, compose(a, mask))(x), 22)


def convolution(seed, p=3, q=3, **fields):
    """Uniform weights that sum to 1, with no symmetry."""
    kernel = np.random.default_rng(seed).uniform(size=(p, q))
    kernel = jnp.asarray(kernel / kernel.sum(), jnp.float32)
    return (PaddedConvolution if fields else Convolution)(in_shape=SHAPE, kernel=kernel, **fields)


def matrix_of(operator):
    """The dense matrix, column by column, in float64."""
    basis = jnp.eye(np.prod(SHAPE)).reshape(-1, *SHAPE)
    return np.asarray(jax.jit(jax.vmap(operator))(basis), np.float64).reshape(len(basis), -1).T


def double(operator):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), operator)


@pytest.mark.parametrize("gain", [0.5, np.array([1.0, 0.0]).reshape(1, 1, 2)], ids=["number", "channels"])
def test_scale(x, gain):
    a = Scale(in_shape=SHAPE, gain=jnp.asarray(gain, jnp.float32))
    np.testing.assert_array_equal(a(x), gain * x)
    np.testing.assert_array_equal(a.adjoint(x), gain * x)
    np.testing.assert_array_equal(pinv(a, a(x)), np.where(np.asarray(gain) > 0, x, 0.0))
    same(a.solve(x, 0.25), x / (np.asarray(gain) ** 2 + 0.25), 8)


def test_convolution_solve_and_pseudo_inverse_are_those_of_the_matrix():
    """By numpy, in float64: condition number < 1.1 / reg = 110, 60 terms; and a kernel with zeros in its spectrum.

    The box (1, 1, 1) / 3 on a row of 6 has |k| = (1, 2/3, 0, 1/3): A^+ has norm 3.
    """
    with jax.enable_x64(True):
        a = double(convolution(0))
        r = np.random.default_rng(1).normal(size=SHAPE)
        m = matrix_of(a)
        reference = np.linalg.solve(m @ m.T + 0.01 * np.eye(len(m)), r.ravel()).reshape(SHAPE)
        np.testing.assert_allclose(a.solve(jnp.asarray(r), 0.01), reference, rtol=0, atol=110 * 60 * 2.3e-16 * 100 * 3)
        box = Convolution(in_shape=SHAPE, kernel=jnp.full((3, 1), 1 / 3))
        reference = np.linalg.pinv(matrix_of(box), rcond=1e-6) @ r.ravel()
        np.testing.assert_allclose(
            pinv(box, jnp.asarray(r)), reference.reshape(SHAPE), rtol=0, atol=60 * 9 * 3 * 2.3e-16
        )


@pytest.mark.parametrize(
    "operator",
    [
        Identity(in_shape=SHAPE),
        Scale(in_shape=SHAPE, gain=jnp.asarray([-2.0, 0.5]).reshape(1, 1, 2)),
        convolution(0),
        separable(0, 4, 3),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_spectrum_is_numpys(operator):
    """All singular values, as often as they occur; float32's rounding of values up to 2 in 60 terms."""
    ours = np.sort(np.ravel(operator.spectrum()))
    reference = np.sort(np.linalg.svd(matrix_of(operator), compute_uv=False))
    np.testing.assert_allclose(ours, reference, rtol=0, atol=60 * 2 * EPS)


def test_padded_convolution_has_the_transpose_of_its_matrix(x):
    """`zero` is the Toeplitz matrix of the kernel, whose transpose is the correlation: 9 terms, three transforms."""
    a = convolution(2, boundary="zero")
    turned = PaddedConvolution(in_shape=SHAPE, kernel=a.kernel[::-1, ::-1], boundary="zero")
    same(a.adjoint(x), turned(x), 100)


def test_one_patch_is_a_convolution_and_equal_patches_are_too(x):
    """Windows sum to 1, so that nothing shows of them: a few transforms' rounding."""
    plain = convolution(3)
    for n in (1, 3):
        patches = PatchConvolution(in_shape=SHAPE, kernels=jnp.tile(plain.kernel, (n, n, 1, 1)))
        same(patches(x), plain(x), 100)
        same(patches.adjoint(x), plain.adjoint(x), 100)


def test_patches_blur_each_by_its_kernel():
    """Points in the outer corners lie wholly in a patch: the one becomes its kernel, gain 1, the other gain 2."""
    kernels = jnp.zeros((2, 2, 1, 1)).at[0, 0].set(1.0).at[1, 1].set(2.0)
    y = PatchConvolution(in_shape=SHAPE, kernels=kernels)(jnp.ones(SHAPE))
    same(y[0, 0], 1.0, 100)
    same(y[-1, -1], 2.0, 100)
    same(y[0, -1], 0.0, 100)


def test_stack_is_its_members_side_by_side(x, mask):
    members = (mask, Scale(in_shape=SHAPE, gain=jnp.asarray(0.5)))
    a = Stack(in_shape=SHAPE, operators=members)
    np.testing.assert_array_equal(a(x), jnp.stack([mask(x), 0.5 * x]))
    np.testing.assert_array_equal(a.adjoint(a(x)), mask(mask(x)) + 0.25 * x)
    by_transpose = Operator.adjoint(a, a(x))
    same(a.adjoint(a(x)), by_transpose, 4)


def test_pseudo_inverse_of_a_stack_is_least_squares(x):
    """Also of a `y` that no x explains: `A^+` of [I, I / 2] is (y_1 + y_2 / 2) / (5 / 4), in one iteration's rounding.

    A `reg` above 0 has the inverse `(r - A A^T r / (reg + 5 / 4)) / reg`; a traced reg is told apart as well.
    """
    half = Scale(in_shape=SHAPE, gain=jnp.asarray(0.5))
    a = Stack(in_shape=SHAPE, operators=(Identity(in_shape=SHAPE), half))
    r = jnp.stack([x, 1 - x])
    merged = (x + (1 - x) / 2) / 1.25
    same(pinv(a, r), merged, 20)
    same(a.adjoint(solve(a, r, 0.0)), merged, 20)
    np.testing.assert_allclose(solve(a, r, 0.5), (r - a(a.adjoint(r)) / 1.75) / 0.5, rtol=0, atol=1e-5)


def test_a_stack_of_different_shapes_is_refused(x):
    with pytest.raises(ValueError, match=r"Stack\.operators must be one or more that take \(6, 5, 2\)"):
        Stack(in_shape=SHAPE, operators=(separable(0, 4, 3), Identity(in_shape=SHAPE)))(x)
    with pytest.raises(ValueError, match=r"Stack\.operators"):
        Stack(in_shape=SHAPE, operators=())(x)


def test_norm_is_the_largest_singular_value(key):
    """A convolution of positive weights that sum to 1 has norm 1; a strict gap makes it exact."""
    assert abs(norm(key, convolution(0)) - 1) < 60 * EPS
    a = separable(0, 4, 3)
    assert abs(norm(key, a) - np.max(a.spectrum())) < 60 * EPS
    assert norm(key, Scale(in_shape=SHAPE, gain=jnp.asarray(0.0))) == 0
    assert abs(norm(key, Identity(in_shape=SHAPE), iterations=1) - 1) < 60 * EPS


def test_scales_and_convolutions_keep_closed_forms(x):
    half, third = (Scale(in_shape=SHAPE, gain=jnp.asarray(g, jnp.float32)) for g in (1 / 2, 1 / 3))
    one, two, wide = convolution(4), convolution(5, 1, 3), convolution(6, 5, 1)
    for outer, inner, kind in (
        (half, third, Scale),
        (half, separable(1, 4, 3), Separable),
        (half, one, Convolution),
        (one, half, Convolution),
        (one, two, Convolution),
        (wide, one, Compose),  # 7 rows of kernel do not fit into 6
        (one, convolution(7, boundary="reflect"), Compose),
    ):
        short = compose(outer, inner)
        assert type(short) is kind
        assert short.in_shape == SHAPE
        same(short(x), outer(inner(x)), 100)
