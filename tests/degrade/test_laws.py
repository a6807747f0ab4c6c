"""The laws of every degradation, and of every operator that an observation carries. Members are discovered.

Tolerances follow from eps, the rounding of the dtype, and n = 25, the longest inner product of an operator on these
pictures (a kernel of 5 x 5; a row has 12 pixels); |.| is the Euclidean norm, and |A| the largest singular value.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import restore_jax.degrade
from restore_jax.build import build, examples, spec_of
from restore_jax.core import Operator, pinv, prox

SHAPE = (8, 12, 3)  # unless the module of a member says EXAMPLE_SHAPE
N = 25
EPS = 1.2e-7
BATCH = 64
KEYS = jax.random.split(jax.random.key(0), BATCH)
CG_TOLERANCE = 1e-6  # the relative residual at which the default solve stops


def label(spec):
    """`Chain(steps=GaussianBlur(std=1.0)+Gaussian(std=0.1))`."""
    if isinstance(spec, dict):
        fields = ",".join(f"{k}={label(v)}" for k, v in spec.items() if k != "name")
        return f"{spec['name'].rpartition('.')[2]}({fields})"
    if isinstance(spec, tuple):
        return "+".join(label(item) for item in spec)
    return f"{spec:.3g}" if isinstance(spec, float) else str(spec)


@functools.cache
def shape_of(name):
    return getattr(importlib.import_module(f"restore_jax.{name.rpartition('.')[0]}"), "EXAMPLE_SHAPE", SHAPE)


def picture(spec, double=False):
    """A picture (or clip) with black, white and everything between."""
    x = np.random.default_rng(7).uniform(size=shape_of(spec["name"]))
    x[..., 0, :, :], x[..., 1, :, :] = 0.0, 1.0
    return jnp.asarray(x, jnp.float64 if double else jnp.float32)


SPECS = examples("restore_jax.degrade")
# Every process that collects traces them: once each.
CARRIED = [jax.eval_shape(build(spec), jax.random.key(0), picture(spec)) for spec in SPECS]


def carries(spec):
    return CARRIED[SPECS.index(spec)]


LINEAR = [spec for spec in SPECS if carries(spec).operator is not None]
CLEAN = [spec for spec in LINEAR if carries(spec).noise_std is None]
# A noise_std of one number is what was drawn; one a pixel is an estimate from y, which its own test judges.
WHITE = [spec for spec in LINEAR if getattr(carries(spec).noise_std, "shape", None) == ()]
ROTATED = [spec for spec in LINEAR if hasattr(carries(spec).operator, "svd")]


every = pytest.mark.parametrize("spec", SPECS, ids=label)
linear = pytest.mark.parametrize("spec", LINEAR, ids=label)
twice = [pytest.param(False, id="float32"), pytest.param(True, id="float64", marks=pytest.mark.soak)]
both_precisions = pytest.mark.parametrize("double", twice)
regs = pytest.mark.parametrize("reg", [1e-2, pytest.param(1.0, marks=pytest.mark.soak)])  # the easier one, at leisure

# One trace for all operators of one kind: that their leaves are leaves pays here already.
forward = jax.jit(lambda a, x: a(x))
adjoint = jax.jit(lambda a, y: a.adjoint(y))
solve = jax.jit(lambda a, r, reg: a.solve(r, reg))
normal_matrix = jax.jit(lambda a, basis: jax.vmap(lambda e: a.adjoint(a(e)))(basis))
project = jax.jit(lambda a, x: a(pinv(a, a(x))))
nearest = jax.jit(prox)


def distance(x, a, z, y, rho):
    return jnp.sum((a(x) - y) ** 2) + rho * jnp.sum((x - z) ** 2)


objective = jax.jit(distance)
slope = jax.jit(jax.grad(distance))


def norm(x):
    return np.linalg.norm(np.asarray(x, np.float64))


def random(seed, like):
    return jnp.asarray(np.random.default_rng(seed).normal(size=like.shape), like.dtype)


def leaves(obs):
    """What a restorer sees, without the operator."""
    return jax.tree.leaves((obs.y, obs.noise_std, obs.cond))


@functools.cache
def compiled(number):
    """`(xs, keys)` to the gradients of all that the observations show, with respect to xs, and the observations."""

    def shown(x, key):
        obs = build(SPECS[number])(key, x)
        return sum((jnp.sum(leaf) for leaf in leaves(obs)), 0.0), obs

    return jax.jit(jax.vmap(jax.grad(shown, has_aux=True)))


def observe(number):
    """A batch of observations of one picture under `KEYS`, and the gradient of all they show with respect to it."""
    x = picture(SPECS[number])
    return compiled(number)(jnp.broadcast_to(x, (BATCH, *x.shape)), KEYS)[::-1]


observed = functools.cache(observe)


def at(obs, i):
    return jax.tree.map(lambda leaf: leaf[i], obs)


def operator_of(spec, double):
    """The operator that `spec` draws, the eps it works in, and what its solve may leave besides rounding."""
    operator = at(observed(SPECS.index(spec))[0].operator, 0)
    operator = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64 if double else jnp.float32), operator)
    return operator, 2.3e-16 if double else EPS, 0.0 if is_closed(operator) else CG_TOLERANCE


def is_closed(operator):
    """Neither it nor an operator inside it solves by conjugate gradients."""
    inside = (getattr(operator, field.name) for field in dataclasses.fields(operator))
    return type(operator).solve is not Operator.solve and all(is_closed(a) for a in inside if isinstance(a, Operator))


@functools.cache
def singular_values(number):
    """`s^2` in rising order and the right singular vectors, from the whole matrix of the operator in float32."""
    operator, _, _ = operator_of(SPECS[number], False)
    x = picture(SPECS[number])
    matrix = normal_matrix(operator, jnp.eye(x.size).reshape(-1, *x.shape))
    return np.linalg.eigh(np.asarray(matrix, np.float64).reshape(x.size, -1))


def norm_of(spec):
    """`|A|`, which float32 knows to much better than the 1 % that is added."""
    return 1.01 * np.sqrt(singular_values(SPECS.index(spec))[0][-1])


def well_conditioned(spec):
    """A picture in the span of the right singular vectors with `s^2 >= s_max^2 / 100`."""
    s_squared, v = singular_values(SPECS.index(spec))
    strong = v[:, s_squared >= s_squared[-1] / 100]
    return (strong @ np.random.default_rng(4).normal(size=strong.shape[1])).reshape(picture(spec).shape)


def assert_equal(a, b, atol=0.0):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def test_every_degradation_has_an_example():
    """A degradation is a public class that is called with (key, x)."""
    found = set()
    for info in pkgutil.walk_packages(restore_jax.degrade.__path__, "restore_jax.degrade."):
        module = importlib.import_module(info.name)
        for name, cls in inspect.getmembers(module, inspect.isclass):
            here = cls.__module__ == info.name and not name.startswith("_")
            if here and list(inspect.signature(cls.__call__).parameters)[1:] == ["key", "x"]:
                found.add(f"{info.name.removeprefix('restore_jax.')}.{name}")
    assert found == {spec["name"] for spec in SPECS}


def test_no_suite_is_empty():
    assert len(LINEAR) > len(CLEAN) > 0
    assert len(WHITE) > 0
    assert len(ROTATED) >= 12, "every closed form has a singular value decomposition"
    assert len(LINEAR) < len(SPECS), "no example has lost its operator, so nothing tests that case"


@every
def test_spec_goes_round(spec):
    degrade = build(spec)
    assert build(spec_of(degrade)) == degrade


# The key and the transformations of JAX


@every
def test_is_a_function_of_the_key(spec):
    """Traced twice it is one program with the same constants, which run twice says the same to the bit."""
    one, other = (jax.make_jaxpr(build(spec))(KEYS[0], picture(spec)) for _ in range(2))
    assert len({re.sub("0x[0-9a-f]+", "", str(trace)) for trace in (one, other)}) == 1
    assert_equal(one.consts, other.consts)
    assert_equal(observed(SPECS.index(spec))[0], observe(SPECS.index(spec))[0])


@pytest.mark.soak  # two seconds an example: it compiles each three times
@every
def test_jit_and_vmap_change_nothing(spec):
    """Sums of n products with weights that sum to about 1 on values up to 1, twice (rows, columns): 2 n eps."""
    together, _ = observed(SPECS.index(spec))
    for i in range(3):
        alone = build(spec)(KEYS[i], picture(spec))
        assert_equal(at(together, i), alone, atol=2 * N * EPS)
        assert_equal(alone, build(spec)(KEYS[i], picture(spec)))  # a function of the key op by op, too


@every
def test_shapes_and_dtypes_are_known_before_it_runs(spec):
    done = jax.eval_shape(lambda obs: at(obs, 0), observed(SPECS.index(spec))[0])
    assert jax.tree.leaves(carries(spec)) == jax.tree.leaves(done)
    assert jax.tree.structure(carries(spec)) == jax.tree.structure(done)


@every
@both_precisions
def test_precision_is_that_of_the_picture(spec, double):
    with jax.enable_x64(double):
        obs = jax.eval_shape(build(spec), KEYS[0], picture(spec, double))
        assert {leaf.dtype for leaf in jax.tree.leaves(obs)} == {picture(spec, double).dtype}


@every
def test_gradient_is_finite(spec):
    _, gradient = observed(SPECS.index(spec))
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.any(gradient != 0)


# What the observation says of itself


@pytest.mark.parametrize("spec", CLEAN, ids=label)
def test_without_noise_y_is_the_image_of_x(spec):
    """To the rounding of 2 n terms: a chain's fused operator sums in another order than its steps."""
    obs = at(observed(SPECS.index(spec))[0], 1)
    np.testing.assert_allclose(obs.y, forward(obs.operator, picture(spec)), rtol=0, atol=2 * N * EPS)


@pytest.mark.parametrize("spec", WHITE, ids=label)
def test_noise_is_white_and_of_the_size_that_is_said(spec):
    """`(y - A x) / noise_std` has mean 0 +- 1/sqrt(m) and variance 1 +- sqrt(2/m), within 5 standard errors."""
    obs, _ = observed(SPECS.index(spec))
    whitened = jax.jit(jax.vmap(lambda one: (one.y - one.operator(picture(spec))) / one.noise_std))
    noise = np.asarray(whitened(obs), np.float64)
    m = noise.size
    assert abs(noise.mean()) < 5 / np.sqrt(m)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / m)
    beside = noise[:, :, 1:] * noise[:, :, :-1]  # neighbours are uncorrelated: products of variance 1
    assert abs(beside.mean()) < 5 / np.sqrt(beside.size)


# The operator


@linear
def test_operator_is_linear(spec):
    """Either side rounds inner products of n terms in two passes: 2 n eps of the largest value, about 10."""
    operator, eps, _ = operator_of(spec, False)
    u, v = random(1, picture(spec)), random(2, picture(spec))
    together, apart = forward(operator, 2.5 * u - v), 2.5 * forward(operator, u) - forward(operator, v)
    np.testing.assert_allclose(together, apart, rtol=0, atol=2 * N * eps * 10)


@linear
@both_precisions
def test_adjoint_is_the_transpose(spec, double):
    """`<A u, v> = <u, A^T v>`; rounding is typically sqrt(m) eps |A u| |v|, 4e-6 of it for m = 864 numbers."""
    with jax.enable_x64(double):
        operator, _, _ = operator_of(spec, double)
        u = random(1, picture(spec, double))
        image = forward(operator, u)
        v = random(2, image)
        error = np.sum(np.multiply(image, v)) - np.sum(np.multiply(u, adjoint(operator, v)))
        assert abs(error) <= (1e-10 if double else 1e-5) * norm(image) * norm(v)


@linear
@both_precisions
@regs
def test_solve_solves(spec, double, reg):
    """`(A A^T + reg) s = r`, to n eps of `|A A^T + reg| |s|`, where `|s| <= |r| / reg`."""
    with jax.enable_x64(double):
        operator, eps, left = operator_of(spec, double)
        r = random(3, forward(operator, picture(spec, double)))
        s = solve(operator, r, reg)
        residual = forward(operator, adjoint(operator, s)) + reg * s - r
        assert norm(residual) <= (left + N * eps * (norm_of(spec) ** 2 + reg) / reg) * norm(r)


@linear
def test_solve_takes_a_reg_for_each_pixel(spec):
    """As samplers ask where the noise varies; to the default solve's tolerance, and rounding as above."""
    operator, eps, _ = operator_of(spec, False)
    r = random(3, forward(operator, picture(spec)))
    reg = 0.5 + jnp.abs(r) / 4
    s = solve(operator, r, reg)
    residual = forward(operator, adjoint(operator, s)) + reg * s - r
    assert norm(residual) <= (CG_TOLERANCE + N * eps * (norm_of(spec) ** 2 + reg.max()) / reg.min()) * norm(r)


@linear
@both_precisions
def test_pseudo_inverse_inverts_what_is_well_conditioned(spec, double):
    """`A A^+ A x = A x` for such an x: eigenvalues of `A A^T` are known to n eps s_max^2, their inverses to 100 n eps.

    The span is found in float32, so that 2 n eps of it, at most, lies outside: a share that is lost in float64.
    """
    with jax.enable_x64(double):
        operator, eps, left = operator_of(spec, double)
        x = jnp.asarray(well_conditioned(spec), picture(spec, double).dtype)
        image = forward(operator, x)
        assert norm(project(operator, x) - image) <= (left + 100 * N * eps) * norm(image)


@linear
@both_precisions
def test_pseudo_inverse_gives_up_what_it_cannot_know(spec, double):
    """For any x, `|A A^+ A x - A x|` stays within what directions at the cut can carry.

    A direction with `s^2 < n eps s_max^2` is dropped and one just above it is wrong by all of itself;
    x enters `A x` there with s, so that either costs at most sqrt(2 n eps) s_max of |x|. Conjugate gradients
    have no cut; the least residual that k = 100 steps can leave on `A x` is |x| s_max / (2 k + 1) at most (Chebyshev).
    """
    with jax.enable_x64(double):
        operator, eps, left = operator_of(spec, double)
        x = random(5, picture(spec, double))
        bound = 1 / 201 if left else np.sqrt(2 * N * eps)
        assert norm(project(operator, x) - forward(operator, x)) <= norm_of(spec) * bound * norm(x)


@linear
@both_precisions
@regs
def test_prox_is_the_minimiser(spec, double, reg):
    """Half the slope of `|A x - y|^2 + rho |x - z|^2` there is `A^T` of the solve's residual, bounded as above.

    The slope is also rounded where it is evaluated: by n eps of its two terms.
    """
    with jax.enable_x64(double):
        operator, eps, left = operator_of(spec, double)
        z = random(6, picture(spec, double))
        y = random(7, forward(operator, z))
        x = nearest(operator, z, y, reg)
        solved = (left + N * eps * (norm_of(spec) ** 2 + reg) / reg) * norm(y - forward(operator, z))
        terms = norm_of(spec) * norm(forward(operator, x) - y) + reg * norm(x - z)
        assert norm(slope(x, operator, z, y, reg)) / 2 <= norm_of(spec) * solved + N * eps * terms
        if double:  # float32 cannot tell these heights apart
            lowest = objective(x, operator, z, y, reg)
            for seed in range(4):
                assert objective(x + 1e-3 * random(seed, x), operator, z, y, reg) > lowest


@linear
def test_other_values_do_not_retrace(spec):
    traces = []

    @jax.jit
    def restore(operator, y):
        traces.append(1)
        return pinv(operator, y)

    batch, _ = observed(SPECS.index(spec))
    for i in range(3):
        restore(at(batch, i).operator, batch.y[i])
    restore(jax.tree.map(lambda leaf: 0.5 * leaf, at(batch, 0).operator), batch.y[0])
    assert len(traces) == 1


@pytest.mark.parametrize("spec", ROTATED, ids=label)
@both_precisions
def test_svd_diagonalises(spec, double):
    """`A^T A x = V S^2 V^T x` and `V V^T x = x`, to n eps of `|A|^2 |x|`: two passes there and two back, and the cut.

    The squares of the values are those of `spectrum()`, as often as they occur, to the n eps that the cut gives up.
    """
    with jax.enable_x64(double):
        operator, eps, _ = operator_of(spec, double)
        x = random(8, picture(spec, double))
        values, rotation = jax.jit(lambda a: a.svd())(operator)
        assert values.shape == x.shape == rotation.in_shape
        seen = adjoint(rotation, values**2 * forward(rotation, x))
        bound = 4 * N * eps
        assert norm(seen - adjoint(operator, forward(operator, x))) <= bound * norm_of(spec) ** 2 * norm(x)
        assert norm(adjoint(rotation, forward(rotation, x)) - x) <= bound * norm(x)
        assert norm(forward(rotation, adjoint(rotation, x)) - x) <= bound * norm(x)
        ours, theirs = (np.sort(np.ravel(s))[::-1] for s in (values, operator.spectrum()))
        theirs = np.pad(theirs, (0, max(0, ours.size - theirs.size)))[: ours.size]
        np.testing.assert_allclose(ours**2, theirs**2, rtol=0, atol=2 * N * eps * norm_of(spec) ** 2)
