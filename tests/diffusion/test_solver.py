"""Every solver against the exact flow of the Gaussian world, at the rate it declares; and against the papers' formulas.

Stochastic solvers are affine in the picture and in their noise where the denoiser is: the derivatives of the end with
respect to each are the mean and the variance that they sample, exactly.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Multistep, split
from restore_jax.diffusion import solver
from restore_jax.diffusion.sampler import descend
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Ancestral, Churn, Dpm2M, Euler, Heun, SdeDpm2M, UniPc, answer, jump, slope
from restore_jax.testing.gaussian import GaussianWorld

EPS = np.finfo(np.float64).eps
solvers = pytest.mark.parametrize("spec", solver.EXAMPLES, ids=str)
deterministic = pytest.mark.parametrize("spec", [*solver.ONE_STEP, *solver.MULTISTEP], ids=str)
LEVELS = np.array([3.0, 1.1, 0.9, 0.2, 0.15])  # as uneven as can be


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


# ------------------------------------------------------------------------------- order, deterministic


def error_slope(step, world, key) -> float:
    """d log |error| / d log(1 / steps) at the end of the way from level 2 to 0.1, between 64 and 128 steps.

    The way is smooth: the slope of the flow changes over sqrt(eigenvalue + sigma^2) > 0.1, several times a step.
    """
    x = world.flow(world.sample(key, 2), 0.0, 2.0)
    exact = world.flow(x, 2.0, 0.1)

    @jax.jit
    def error(sigmas):
        return jnp.sqrt(jnp.mean((descend(step, key, world.denoise, x, sigmas) - exact) ** 2))

    coarse, fine = (error(Karras(0.1, 2.0).grid(n + 1)[:-1]) for n in (64, 128))
    return float(jnp.log2(coarse / fine))


@deterministic
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


@dataclass(frozen=True)
class Whole(Dpm2M):
    """A planted bug: D carried a whole step further, not half of one."""

    def move(self, memory, key, denoise, x, s, t):
        now = solver._Seen(denoise(x, s), solver._log(s, x))
        return jump(now.answer + jnp.log(s / t) * solver._trend(now, memory), x, s, t), now


@pytest.mark.parametrize("step", [Late(), Whole()], ids=str)
def test_a_lower_order_is_found(world, key, step):
    assert error_slope(step, world, key) < 1.15


# ------------------------------------------------------------------------------- order, stochastic

WAY = (2.0, 0.1)


def independent() -> GaussianWorld:
    """A world whose coordinates are the pixels and whose mean is 0, so that a derivative of a sum is a diagonal."""
    return GaussianWorld(jnp.zeros((2, 2, 1)), jnp.eye(4), jnp.geomspace(0.05, 0.5, 4) ** 2)


def gains(monkeypatch, key, step, n: int) -> tuple[np.ndarray, np.ndarray]:
    """How the end of the way depends on its start, and the variance it has if the start has the prior's, by pixel."""
    world, given = independent(), []
    monkeypatch.setattr(solver, "normal", lambda key, shape, dtype: given[-1])

    def end(x, noise):
        def move(carry, levels):
            s, t, one = levels
            given.append(one)
            x, memory = carry
            if isinstance(step, Multistep):
                return step.move(memory, key, world.denoise, x, s, t), None
            return (step(key, world.denoise, x, s, t), memory), None

        memory = step.blank(x) if isinstance(step, Multistep) else ()
        sigmas = Karras(WAY[1], WAY[0]).grid(n + 1)[:-1]
        return jax.lax.scan(move, (x, memory), (sigmas[:-1], sigmas[1:], noise))[0][0].sum()

    of_x, of_noise = jax.jit(jax.grad(end, (0, 1)))(jnp.zeros((2, 2, 1)), jnp.zeros((n, 2, 2, 1)))
    monkeypatch.undo()
    start = world.eigenvalues + WAY[0] ** 2
    return np.ravel(of_x), np.ravel(of_x) ** 2 * start + np.sum(np.square(of_noise), 0).ravel()


def slopes(monkeypatch, key, step, power: float) -> tuple[float, float]:
    """The orders of the mean, whose gain is exactly `((L + t^2) / (L + s^2))^power`, and of the variance."""
    variance = independent().eigenvalues
    exact = variance + WAY[1] ** 2
    mean = (exact / (variance + WAY[0] ** 2)) ** power
    errors = []
    for n in (64, 128):
        sized = dataclasses.replace(step, n_steps=n) if isinstance(step, Churn) else step
        of_x, spread = gains(monkeypatch, key, sized, n)
        errors.append([np.sqrt(np.mean((of_x / mean - 1) ** 2)), np.sqrt(np.mean((spread / exact - 1) ** 2))])
    return tuple(np.log2(np.divide(*errors)))


def test_mean_and_variance_converge_with_the_declared_order(monkeypatch, key):
    """The flow is half the score; with noise of share eta^2 it is (1 + eta^2) / 2 of it: that power of the gain."""
    half = slopes(monkeypatch, key, Ancestral(0.5), (1 + 0.5**2) / 2)
    assert np.abs(np.subtract(half, 1)).max() < 0.15


@pytest.mark.parametrize("step", [Ancestral(1.0), SdeDpm2M()], ids=str)
def test_full_noise_has_the_exact_mean_and_the_declared_order_of_variance(monkeypatch, key, step):
    """What the denoiser answers is then a martingale: any mean of its answers has the right expectation.

    The gain is `Cov(x_t, x_s) / Var(x_s)`, the regression of x_t on x_s.
    """
    variance = independent().eigenvalues
    of_x, _ = gains(monkeypatch, key, step, 16)
    np.testing.assert_allclose(of_x, (variance + WAY[1] ** 2) / (variance + WAY[0] ** 2), rtol=1000 * EPS)
    assert abs(slopes(monkeypatch, key, step, 1.0)[1] - step.order) < 0.15


def test_churn_has_the_order_of_the_step_within(monkeypatch, key):
    """In the variance: the noise it adds is what the level says. The gain of the mean depends on s_churn."""
    churn = Churn(Heun(), s_churn=4.0, s_min=0.0)
    assert (churn.order, Churn(Euler()).order) == (2, 1)
    assert abs(slopes(monkeypatch, key, churn, 1.0)[1] - 2) < 0.15


@dataclass(frozen=True)
class Loud(Ancestral):
    """A planted bug: fresh noise up to level t, without the room that must be left for it."""

    def __call__(self, key, denoise, x, s, t):
        return jump(denoise(x, s), x, s, t * t / s) + t * jnp.sqrt(1 - t / s) * solver.normal(key, x.shape, x.dtype)


def test_the_wrong_noise_is_found(monkeypatch, key):
    exact = independent().eigenvalues + WAY[1] ** 2
    for wrong, right in ((Loud(), Ancestral()), (Churn(s_churn=8.0, s_noise=1.1), Churn(s_churn=8.0))):
        far, near = (np.abs(gains(monkeypatch, key, step, 18)[1] / exact - 1).max() for step in (wrong, right))
        assert far > 2 * near


@pytest.mark.parametrize("step", [Ancestral(), SdeDpm2M(), Churn(Heun(), 10.0, n_steps=48)], ids=str)
def test_stochastic_samples_have_the_prior_s_moments(key, step):
    world, n = independent(), 5_000
    start = 10.0 * jax.random.normal(key, (n, 2, 2, 1))
    sigmas = Karras(0.01, 10.0).grid(48)
    sample = jax.jit(lambda x: descend(step, jax.random.key(1), world.denoise, x, sigmas))
    expected = np.asarray(world.eigenvalues)
    if step.order == 1:  # 20 % short in 48 steps: by how much, its own recursion says
        prior, expected = expected, np.full(4, 100.0)
        for s, t in itertools.pairwise(np.asarray(sigmas)):
            expected = ((prior + t**2) / (prior + s**2)) ** 2 * expected + t**2 * (1 - t**2 / s**2)
    z = np.asarray(sample(start)).reshape(n, 4) / np.sqrt(expected)
    # 4.5 standard errors, and what those of order 2 may err themselves.
    assert (np.abs(z.mean(0)) < 4.5 / np.sqrt(n)).all()
    assert (np.abs(np.cov(z.T) - np.eye(4)) < 4.5 * np.sqrt((1 + np.eye(4)) / n) + 0.02 * np.eye(4)).all()


# ------------------------------------------------------------------------------- the papers' formulas


def test_slope_is_the_score(world, key):
    """`dx/dsigma = -sigma grad log p(x; sigma)`, EDM eq. 1 with sigma(t) = t, the gradient by autodiff."""
    x, sigma = world.sample(key, 2), jnp.asarray(0.4)
    score = jax.grad(lambda x: world.log_density(x, sigma).sum())(x)
    np.testing.assert_allclose(slope(world.denoise, x, sigma), -sigma * score, atol=1000 * EPS)


def test_jump_and_answer_are_inverse(key):
    x, x_t = jax.random.normal(key, (2, 3, 2, 2, 1))
    s, t = jnp.asarray([2.0, 1.0, 0.5]), jnp.asarray([1.9, 0.1, 0.0])
    np.testing.assert_allclose(jump(answer(x_t, x, s, t), x, s, t), x_t, atol=100 * EPS)  # 1 / (1 - t / s) = 20
    np.testing.assert_allclose(answer(x_t, x, s, t)[2], x_t[2], atol=10 * EPS)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_euler_and_ancestral_are_ddim_and_ddpm(world, key, eta):
    """Song et al. 2021 (DDIM), eq. 12 and 16, in alpha and epsilon; for eta = 0 Euler is the same."""
    x, (s, t) = world.sample(key, 2), LEVELS[:2]
    before, after = 1 / (1 + s**2), 1 / (1 + t**2)  # alpha_bar
    step, noise = Ancestral(eta), jax.random.normal(key, x.shape)
    x_hat = world.denoise(x, s)
    epsilon = (np.sqrt(before) * x - np.sqrt(before) * x_hat) / np.sqrt(1 - before)
    sigma = eta * np.sqrt((1 - after) / (1 - before)) * np.sqrt(1 - before / after)
    paper = np.sqrt(after) * x_hat + np.sqrt(1 - after - sigma**2) * epsilon + sigma * noise
    ours = step(key, world.denoise, x, jnp.asarray(s), jnp.asarray(t))
    np.testing.assert_allclose(np.sqrt(after) * ours, paper, atol=100 * EPS)
    if eta == 0:
        euler = Euler()(key, world.denoise, x, jnp.asarray(s), jnp.asarray(t))
        np.testing.assert_allclose(ours, euler, atol=100 * EPS)
    if eta == 1:  # Ho et al. 2020, eq. 7, the posterior's variance
        beta = 1 - before / after
        np.testing.assert_allclose(sigma**2, (1 - after) / (1 - before) * beta, rtol=1e-12)


def test_dpm_2m_is_the_paper_s_in_vp_variables(world, key):
    """Lu et al. 2022 (DPM-Solver++), algorithm 2 as printed, on uneven levels; alpha^2 + sigma^2 = 1."""
    alpha = 1 / np.sqrt(1 + LEVELS**2)
    sigma, lam = LEVELS * alpha, -np.log(LEVELS)
    x = world.sample(key, 2)
    ours = descend(Dpm2M(), key, world.denoise, x, jnp.asarray(LEVELS))
    z, answers = alpha[0] * np.asarray(x), []
    for i in range(1, len(LEVELS)):
        answers.append(np.asarray(world.denoise(jnp.asarray(z / alpha[i - 1]), LEVELS[i - 1])))
        h, d = lam[i] - lam[i - 1], answers[-1]
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * d - answers[-2] / (2 * r)
        z = sigma[i] / sigma[i - 1] * z - alpha[i] * (np.exp(-h) - 1) * d
    np.testing.assert_allclose(ours, z / alpha[-1], atol=1000 * EPS)


def test_unipc_is_exact_where_the_answer_is_a_line_in_log_sigma(key):
    """The first step cannot know the line; its correction does. From D = a - b log(sigma) by parts:

    x / sigma changes by the integral of D exp(u) / s du, and int (a + b u) e^u du = (a - b + b u) e^u.
    """
    a, b = jax.random.normal(key, (2, 1, 2, 2, 1))
    x, levels = jnp.ones((1, 2, 2, 1)), jnp.asarray(LEVELS)
    end = descend(UniPc(), key, lambda x, sigma: a - b * jnp.log(sigma), x, levels)
    s, t = LEVELS[0], LEVELS[-1]
    exact = t / s * x + (a - b - b * np.log(t)) - t / s * (a - b - b * np.log(s))
    np.testing.assert_allclose(end, exact, atol=1000 * EPS)
    with pytest.raises(AssertionError):  # two answers to a step, of which the corrector would know the second
        np.testing.assert_allclose(
            descend(Dpm2M(), key, lambda x, sigma: a - b * jnp.log(sigma), x, levels), exact, atol=1e-3
        )


# ------------------------------------------------------------------------------- laws of every solver


@solvers
def test_level_per_image_is_level_one_by_one(world, key, spec):
    step, x, keys = build(spec), world.sample(key, 3), split(key, 3)
    s, t = jnp.asarray([2.0, 0.5, 0.1]), jnp.asarray([1.0, 0.0, 0.05])
    run = jax.jit(lambda key, x, s, t: step(key, world.denoise, x, s, t))
    together = run(keys, x, s, t)
    for i in range(3):
        # Pictures of size up to 3 behind a slope of size x / sigma < 30: 30 * 3 * 10 roundings.
        single = run(keys[i], x[i], s[i], t[i])
        np.testing.assert_allclose(together[i], single, atol=1000 * EPS)


@solvers
def test_a_step_to_zero_answers_the_denoiser_itself(world, key, spec):
    step, x, zero = build(spec), world.sample(key, 2), jnp.zeros(())
    step = dataclasses.replace(step, s_max=0.1, s_min=0.1) if isinstance(step, Churn) else step
    run = jax.jit(lambda s: step(key, world.denoise, x, s, zero))
    for s in (jnp.asarray(0.3), jnp.asarray(80.0)):
        said = run(s)
        np.testing.assert_allclose(said, world.denoise(x, s), atol=100 * EPS)
        per_image = step(key, world.denoise, x, jnp.full(2, s), jnp.zeros(2))
        np.testing.assert_allclose(per_image, said, atol=100 * EPS)


@solvers
def test_a_step_to_zero_has_a_finite_derivative(world, key, spec):
    """Samplers are differentiated through; the branch not taken must not leave NaN behind."""
    step, x = build(spec), world.sample(key, 2)
    step = dataclasses.replace(step, s_max=0.1, s_min=0.1) if isinstance(step, Churn) else step

    @jax.jit
    def derivative(x, s, t):
        return jax.grad(lambda x, s, t: step(key, world.denoise, x, s, t).sum(), (0, 1, 2))(x, s, t)

    exact = jax.grad(lambda x: world.denoise(x, 0.3).sum())(x)
    for shape in ((), (2,)) if spec in solver.ONE_STEP else ((2,),):
        of_x, of_s, of_t = derivative(x, jnp.full(shape, 0.3), jnp.zeros(shape))
        np.testing.assert_allclose(of_x, exact, atol=100 * EPS)
        assert np.isfinite(of_s).all()
        # Heun's and Dpm2S's branch at t > 0 has another derivative than the step to 0; neither is NaN.
        assert np.isfinite(of_t).all()


@pytest.mark.parametrize("spec", solver.MULTISTEP, ids=str)
def test_memory_is_one_shape_and_is_differentiated_through(world, key, spec):
    """Down to 0 with one level for all and with a level an image: the same, and so is the derivative."""
    step, x = build(spec), world.sample(key, 2)

    @jax.jit
    def end(x, scale):
        memory = step.blank(x)
        for s, t in ((1.0, 0.5), (0.5, 0.2), (0.2, 0.0)):
            x, memory = step.move(memory, key, world.denoise, x, s * scale, t * scale)
        return x.sum()

    one = jax.value_and_grad(end, (0, 1))(x, jnp.ones(()))
    each = jax.value_and_grad(end, (0, 1))(x, jnp.ones(2))
    np.testing.assert_allclose(one[0], each[0], atol=1000 * EPS)
    np.testing.assert_allclose(one[1][0], each[1][0], atol=1000 * EPS)
    np.testing.assert_allclose(one[1][1], each[1][1].sum(), rtol=1e-9)


@solvers
def test_nfe_counts_evaluations(world, key, spec):
    """A callback counts what runs, inside the scan and in the branches that are taken."""
    step, calls = build(spec), []

    def counted(x, sigma):
        jax.debug.callback(lambda: calls.append(1))
        return world.denoise(x, sigma)

    jax.block_until_ready(descend(step, key, counted, world.sample(key, 2), Karras(0.1, 2.0).grid(4)))
    jax.effects_barrier()
    assert len(calls) == step.nfe(4)
    assert step.nfe(1) == 1


def test_settings_that_cannot_be_are_errors():
    broken: list[tuple[Any, str]] = [
        (lambda: Ancestral(1.5), r"Ancestral\.eta must lie between 0"),
        (lambda: Churn(Dpm2M()), r"Churn\.step must be a one-step solver"),
        (lambda: Churn(s_churn=-1.0), "s_churn and s_noise of 0 or more"),
        (lambda: Churn(n_steps=0), "n_steps of 1 or more"),
        (lambda: Churn(s_min=2.0, s_max=1.0), "0 <= s_min <= s_max"),
    ]
    for make, message in broken:
        with pytest.raises(ValueError, match=message):
            make()
