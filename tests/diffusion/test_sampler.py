from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, Sampler, split
from restore_jax.diffusion import sampler
from restore_jax.diffusion.guidance import Threshold
from restore_jax.diffusion.sampler import (
    Consistency,
    Guided,
    Ode,
    check_falling,
    descend,
    noise_images,
    start_mean,
    stop_at_nan,
)
from restore_jax.diffusion.schedule import Karras, Levels
from restore_jax.diffusion.solver import Ancestral, Euler, Heun, UniPc
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (2, 2, 2)
D = 8
ULP = np.finfo(np.float32).eps
samplers = pytest.mark.parametrize("spec", sampler.EXAMPLES, ids=str)


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, SHAPE)


def blank(n: int) -> Observation:
    return Observation(y=jnp.zeros((n, *SHAPE))).with_cond(image=jnp.full((n, *SHAPE), 0.3))


def run(sample, key, denoise, obs):
    return jax.jit(lambda key, obs: sample(key, denoise, obs))(key, obs)


# ------------------------------------------------------------------------------- what is sampled


def test_ode_follows_the_flow_from_the_noise_it_is_given(world, key):
    """Heun's error falls as 1 / n^2 (test_solver): twice the steps, a quarter of the distance to the exact flow."""
    with jax.enable_x64(True):
        world = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), world)
        noise = jax.random.normal(key, (4, *SHAPE))
        obs = Observation(y=jnp.zeros((4, *SHAPE))).with_cond(noise=noise)
        schedule = Karras(1e-4, 10.0)
        exact = world.consistency(0.5 + 10.0 * noise, 10.0)

        def distance(n):
            return np.abs(run(Ode(Heun(), schedule, n), key, world.denoise, obs) - exact).max()

        few, many = distance(64), distance(128)
        # The last step, 1e-4 -> 0, is Euler's: off by s^2 / (2 deviation^2) = 1e-8 / 8e-4 at most, times x.
        assert many < 1e-3
        assert 3 < few / many < 5


def test_ode_samples_the_prior(world, key):
    n = 20_000
    white = Observation(y=jnp.zeros((n, *SHAPE)))
    x = run(Ode(Heun(), Karras(0.0005, 80.0), 200), key, world.denoise, white)
    assert_moments(world, x, start=80.0)


def test_consistency_samples_the_prior_in_any_number_of_steps(world, key):
    white = Observation(y=jnp.zeros((20_000, *SHAPE)))
    for sigmas in ((80.0,), (80.0, 1.0), (80.0, 2.0, 0.1)):
        x = run(Consistency(sigmas), key, world.consistency, white)
        assert_moments(world, x, start=80.0)


def test_the_wrong_function_does_not_sample_the_prior(world, key):
    """The denoiser in place of the consistency function answers means: too little variance."""
    x = Consistency((80.0,))(key, world.denoise, Observation(y=jnp.zeros((20_000, *SHAPE))))
    with pytest.raises(AssertionError):
        assert_moments(world, x, start=80.0)


def assert_moments(world, x, start):
    """Mean and covariance within 4.5 standard errors, in units of each eigenvector's deviation."""
    n = len(x)
    z = (np.asarray(x, np.float64) - np.asarray(world.mean)).reshape(n, D) @ np.asarray(world.basis)
    z /= np.sqrt(world.eigenvalues)
    # Sampling starts from N(1/2, start^2) and not from N(mean, L + start^2): a mean off by
    # |mean - 1/2| / start < 0.3 / 80 deviations, and a variance by eigenvalue / start^2 < 1e-4.
    # Heun in 200 steps answers variances 0.2 % off at most: its gain on each eigenvalue, worked out by hand.
    assert (np.abs(z.mean(0)) < 4.5 / np.sqrt(n) + 0.3 / start).all()
    error = np.sqrt((1 + np.eye(D)) / n)
    assert (np.abs(np.cov(z.T) - np.eye(D)) < 4.5 * error + 0.002).all()


# ------------------------------------------------------------------------------- laws of every sampler


def elementwise(x_t, sigma):
    """A denoiser without sums, so that a batch rounds as its pictures do."""
    level = jnp.reshape(sigma, jnp.shape(sigma) + (1,) * (x_t.ndim - jnp.ndim(sigma)))
    return jnp.tanh(x_t / (1 + level))


@samplers
def test_noise_given_is_noise_drawn(key, spec, monkeypatch):
    sample, obs, drawn = build(spec), blank(3), []
    real = sampler.normal
    monkeypatch.setattr(sampler, "normal", lambda *a: drawn.append(real(*a)) or drawn[-1])
    x = sample(key, elementwise, obs)
    (noise,) = drawn
    assert noise.shape == (3, 2, 2, 2 * sample.draws)
    # A step that draws noise of its own draws it from the key.
    again = key if isinstance(getattr(sample, "step", None), Ancestral) else jax.random.key(9)
    fixed = sample(again, elementwise, obs.with_cond(noise=noise))
    np.testing.assert_allclose(fixed, x, rtol=10 * ULP)
    assert len(drawn) == 1


@samplers
def test_a_sample_does_not_know_its_neighbours(key, spec):
    keys = split(key, 3)
    together = build(spec)(keys, elementwise, blank(3))
    alone = build(spec)(keys[1:2], elementwise, blank(1))
    np.testing.assert_allclose(together[1:2], alone, rtol=10 * ULP)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@samplers
def test_sampler_is_a_sampler_and_counts_its_evaluations(key, spec):
    sample, calls = build(spec), []
    assert isinstance(sample, Sampler)

    def counted(x_t, sigma):
        jax.debug.callback(lambda: calls.append(1))
        return elementwise(x_t, sigma)

    x = sample(key, counted, blank(2))
    jax.effects_barrier()
    assert x.shape == (2, *SHAPE)
    assert len(calls) == sample.nfe
    assert [image.shape for image in noise_images(key, blank(2), sample.draws)] == [(2, *SHAPE)] * sample.draws


@samplers
def test_observations_of_a_shape_trace_once(key, spec):
    traces = []

    @jax.jit
    def run(key, obs):
        traces.append(1)
        return build(spec)(key, elementwise, obs)

    run(key, blank(2))
    run(jax.random.key(1), jax.tree.map(lambda leaf: leaf + 0.1, blank(2)))
    assert len(traces) == 1


@samplers
def test_noise_of_the_wrong_shape_is_an_error(key, spec):
    with pytest.raises(ValueError, match="noise images"):
        build(spec)(key, elementwise, blank(2).with_cond(noise=jnp.zeros((2, 2, 2, 3))))


# ------------------------------------------------------------------------------- where sampling starts


def test_level_zero_is_regression(key):
    obs = blank(2)
    sample = Consistency((0.0,), start="image")
    assert (sample.draws, sample.nfe) == (0, 1)
    np.testing.assert_array_equal(sample(key, elementwise, obs), elementwise(obs.cond["image"], 0.0))


def test_start_is_the_image_or_grey(key):
    obs = blank(2).with_cond(noise=jnp.ones((2, *SHAPE)))
    for start, mean in (("image", 0.3), ("noise", 0.5)):
        for sample in (Consistency((0.5,), start), Ode(Heun(), Karras(0.1, 0.5), 1, start)):
            seen = sample(key, lambda x_t, sigma: x_t, obs)  # that "denoiser" makes every slope 0
            np.testing.assert_allclose(seen, np.full((2, *SHAPE), mean + 0.5), rtol=4 * ULP)
        np.testing.assert_allclose(start_mean(start, obs), np.full((2, *SHAPE), mean), rtol=ULP)


def test_levels_come_in_turn(key):
    """Song et al., algorithm 1: `D(D(m + 2 n_1, 2) + 1 n_2, 1)`, written out."""
    obs = blank(2)
    n = jax.random.normal(key, (2, 2, 2, 4))
    x = elementwise(obs.cond["image"] + 2 * n[..., :2], 2.0)
    x = elementwise(x + 1 * n[..., 2:], 1.0)
    sample = Consistency((2.0, 1.0), start="image")
    np.testing.assert_allclose(sample(key, elementwise, obs.with_cond(noise=n)), x, rtol=10 * ULP)


def test_what_cannot_be_sampled_says_so(key):
    bare = Observation(y=jnp.zeros((2, *SHAPE)))
    for sample in (Consistency((1.0,), "image"), Ode(Heun(), start="image")):
        with pytest.raises(ValueError, match=r'needs cond\["image"\]'):
            sample(key, elementwise, bare)
    for sigmas in ((), (1.0, 2.0), (1.0, 1.0), (1.0, -0.5)):
        with pytest.raises(ValueError, match="must fall"):
            Consistency(sigmas)


# ------------------------------------------------------------------------------- many moves as one scan


def test_descend_is_one_move_after_another(key):
    """By hand: a step with memory is handed it, and one without is handed a key of its own."""
    x, sigmas = jax.random.normal(key, (2, *SHAPE)), jnp.asarray([3.0, 1.0, 0.3, 0.0])
    keys = split(key, 3)

    @jax.jit
    def by_hand(x):
        memory, other = UniPc().blank(x), x
        for k in range(3):
            x, memory = UniPc().move(memory, keys[k], elementwise, x, sigmas[k], sigmas[k + 1])
            other = Ancestral()(keys[k], elementwise, other, sigmas[k], sigmas[k + 1])
        return x, other

    for step, hand in zip((UniPc(), Ancestral()), by_hand(x)):
        np.testing.assert_allclose(descend(step, key, elementwise, x, sigmas), hand, rtol=100 * ULP)


def test_other_levels_are_no_other_program(key):
    traces = []

    @jax.jit
    def run(x, sigmas):
        traces.append(1)
        return descend(UniPc(), key, elementwise, x, sigmas)

    for schedule in (Karras(), Levels((3.0, 2.0, 1.0))):
        assert np.isfinite(run(jnp.ones((2, *SHAPE)), schedule.grid(6))).all()
    assert len(traces) == 1


def test_levels_that_do_not_fall_are_errors(key):
    x = jnp.ones((1, *SHAPE))
    for wrong in ([1.0, 2.0], [1.0, 1.0], [1.0, 0.5, -0.1], [1.0, float("nan")], [float("nan")], []):
        with pytest.raises(ValueError, match="must fall and not be negative"):
            descend(Euler(), key, elementwise, x, jnp.asarray(wrong))
    wrong = jnp.asarray([1.0, 2.0])
    # Constants can be looked at while a function is traced; its arguments cannot, and pass.
    with pytest.raises(ValueError, match="must fall"):
        jax.jit(lambda x: descend(Euler(), key, elementwise, x, wrong))(x)
    jax.jit(check_falling)(jnp.asarray([1.0, 2.0]))
    check_falling(jnp.asarray([2.0, 1.0]))


def test_pictures_keep_their_precision(key):
    """Levels of another dtype do not change that of the pictures, nor of what the scan carries."""
    with jax.enable_x64(True):
        obs = Observation(y=jnp.zeros((1, *SHAPE), jnp.float32))
        for step in (Heun(), UniPc(), Ancestral()):
            x = jax.eval_shape(lambda key, step=step: Ode(step)(key, lambda x_t, sigma: 0.5 * x_t, obs), key)
            assert x.dtype == jnp.float32


# ------------------------------------------------------------------------------- guided, and stopped


@dataclass(frozen=True)
class Push:
    """A guidance that multiplies by `scale`, twice at low noise: too large a scale overflows."""

    scale: float

    def __call__(self, denoise, obs):
        def guided(x_t, sigma):
            pushed = self.scale * denoise(x_t, sigma)
            return jnp.where(sigma < 0.5, self.scale * pushed, pushed)

        return guided


def test_the_first_guidance_is_innermost(key):
    obs = blank(2).with_cond(noise=jnp.ones((2, *SHAPE)))
    plain = Consistency((0.6,))
    outside = Guided(plain, (Push(3.0), Threshold()))(key, lambda x_t, sigma: x_t, obs)  # clip(3 * 1.1)
    inside = Guided(plain, (Threshold(), Push(3.0)))(key, lambda x_t, sigma: x_t, obs)  # 3 * clip(1.1)
    np.testing.assert_allclose(outside, np.ones((2, *SHAPE)))
    np.testing.assert_allclose(inside, np.full((2, *SHAPE), 3.0))
    np.testing.assert_array_equal(Guided(plain, ())(key, elementwise, obs), plain(key, elementwise, obs))
    assert (Guided(plain, (Push(3.0),)).draws, Guided(plain, (Push(3.0),)).nfe) == (1, 1)


def test_a_scale_too_large_is_stopped_at_its_step(key):
    """Levels 2, 1, 0.25, 0: the third step is the first below 0.5, where 1e30^2 is infinite in single precision."""
    plain, obs = Ode(Euler(), Levels((2.0, 1.0, 0.25)), 3), blank(2)
    words = (
        r"scale=1e\+30.*not finite after step 3 of 3, from level 0\.25.* to 0\.0.*, by Euler.*guidance scale too large"
    )
    with pytest.raises(FloatingPointError, match=words):
        stop_at_nan(Guided(plain, (Push(1e30),)))(key, elementwise, obs)
    with pytest.raises(FloatingPointError, match=r"after step 2 of 2, from level 0\.25.*by Consistency"):
        stop_at_nan(Guided(Consistency((2.0, 0.25)), (Push(1e30),)))(key, elementwise, obs)


def test_what_stays_finite_is_not_stopped(key):
    sample = Ode(Euler(), n_steps=2)
    plain = sample(key, elementwise, blank(2))
    np.testing.assert_allclose(stop_at_nan(sample)(key, elementwise, blank(2)), plain, rtol=100 * ULP)


@dataclass(frozen=True)
class Towards:
    """A step that is told what was observed, and goes there."""

    goal: Any = None
    order = 1

    def nfe(self, n_steps):
        return 0

    def under(self, obs):
        return Towards(obs.y)

    def __call__(self, key, denoise, x, s, t):
        return self.goal


def test_a_step_is_told_what_was_observed(key):
    obs = Observation(y=jnp.full((2, *SHAPE), 7.0))
    np.testing.assert_array_equal(Ode(Towards(), n_steps=2)(key, elementwise, obs), obs.y)


@samplers
def test_a_sampler_is_pure_unless_it_is_watched(key, spec):
    """An effect in the trace would keep a graph from being exported (a check that is always there was one)."""
    sample, obs = build(spec), blank(2)

    def traced():
        return jax.make_jaxpr(lambda key, obs: sample(key, elementwise, obs))(key, obs)

    assert not traced().effects
    sampler.stop_at_nan(sample)(key, elementwise, obs)
    assert not traced().effects
