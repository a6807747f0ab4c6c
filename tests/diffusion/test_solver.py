"""Every solver against the exact flow of the Gaussian world, at the rate it declares."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.diffusion import solver
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler, slope
from restore_jax.testing.gaussian import GaussianWorld

EPS = np.finfo(np.float64).eps
solvers = pytest.mark.parametrize("spec", solver.EXAMPLES, ids=str)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


def error_slope(step, world, key) -> float:
    """d log |error| / d log(1 / steps) at the end of the way from level 2 to 0.1, between 64 and 128 steps.

    The way is smooth: the slope of the flow changes over sqrt(eigenvalue + sigma^2) > 0.1, several times a step.
    """
    x = world.flow(world.sample(key, 2), 0.0, 2.0)
    exact = world.flow(x, 2.0, 0.1)

    @jax.jit
    def error(sigmas):
        def move(x, levels):
            return step(key, world.denoise, x, *levels), None

        end, _ = jax.lax.scan(move, x, (sigmas[:-1], sigmas[1:]))
        return jnp.sqrt(jnp.mean((end - exact) ** 2))

    coarse, fine = (error(Karras(0.1, 2.0).grid(n + 1)[:-1]) for n in (64, 128))
    return float(jnp.log2(coarse / fine))


@solvers
def test_error_falls_with_the_declared_order(world, key, spec):
    step = build(spec)
    # The next term of the error expansion is O(h) of the leading one; h ln(20) / 64 ~ 0.05 in log sigma.
    assert abs(error_slope(step, world, key) - step.order) < 0.15


@dataclass(frozen=True)
class Late(Euler):
    """A planted bug: Heun with the second slope taken at the wrong level."""

    def __call__(self, key, denoise, x, s, t):
        first = slope(denoise, x, s)
        second = slope(denoise, x + (t - s) * first, s)
        return x + (t - s) * 0.5 * (first + second)


def test_a_lower_order_is_found(world, key):
    assert error_slope(Late(), world, key) < 1.15


def test_slope_is_the_score(world, key):
    """`dx/dsigma = -sigma grad log p(x; sigma)`, EDM eq. 1 with sigma(t) = t, the gradient by autodiff."""
    x, sigma = world.sample(key, 2), jnp.asarray(0.4)
    score = jax.grad(lambda x: world.log_density(x, sigma).sum())(x)
    np.testing.assert_allclose(slope(world.denoise, x, sigma), -sigma * score, atol=1000 * EPS)


@solvers
def test_level_per_image_is_level_one_by_one(world, key, spec):
    step, x = build(spec), world.sample(key, 3)
    s, t = jnp.asarray([2.0, 0.5, 0.1]), jnp.asarray([1.0, 0.0, 0.05])
    together = step(key, world.denoise, x, s, t)
    for i in range(3):
        # Pictures of size up to 3 behind a slope of size x / sigma < 30: 30 * 3 * 10 roundings.
        single = step(key, world.denoise, x[i], s[i], t[i])
        np.testing.assert_allclose(together[i], single, atol=1000 * EPS)


@solvers
def test_a_step_to_zero_answers_the_denoiser_itself(world, key, spec):
    step, x, zero = build(spec), world.sample(key, 2), jnp.zeros(())
    for s in (jnp.asarray(0.3), jnp.asarray(80.0)):
        answer = step(key, world.denoise, x, s, zero)
        np.testing.assert_allclose(answer, world.denoise(x, s), atol=100 * EPS)
        per_image = step(key, world.denoise, x, jnp.full(2, s), jnp.zeros(2))
        np.testing.assert_allclose(per_image, answer, atol=100 * EPS)


@solvers
def test_a_step_to_zero_has_a_finite_derivative(world, key, spec):
    """Samplers are differentiated through; the branch not taken must not leave NaN behind."""
    step, x = build(spec), world.sample(key, 2)

    def total(x, s, t):
        return step(key, world.denoise, x, s, t).sum()

    for shape in ((), (2,)):
        grad = jax.grad(total)(x, jnp.full(shape, 0.3), jnp.zeros(shape))
        exact = jax.grad(lambda x: world.denoise(x, 0.3).sum())(x)
        np.testing.assert_allclose(grad, exact, atol=100 * EPS)


@solvers
@pytest.mark.parametrize("n", [1, 5])
def test_nfe_counts_evaluations(world, key, spec, n):
    """A callback counts what runs, inside the scan and in the branches that are taken."""
    step, calls = build(spec), []

    def counted(x, sigma):
        jax.debug.callback(lambda: calls.append(1))
        return world.denoise(x, sigma)

    def move(x, levels):
        return step(key, counted, x, *levels), None

    sigmas = Karras(0.1, 2.0).grid(n)
    jax.block_until_ready(jax.lax.scan(move, world.sample(key, 2), (sigmas[:-1], sigmas[1:])))
    jax.effects_barrier()
    assert len(calls) == step.nfe(n)
