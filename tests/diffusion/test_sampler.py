import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, Sampler, split
from restore_jax.diffusion import sampler
from restore_jax.diffusion.sampler import Consistency, Ode, noise_images, start_mean
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Heun
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
    fixed = sample(jax.random.key(9), elementwise, obs.with_cond(noise=noise))
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
