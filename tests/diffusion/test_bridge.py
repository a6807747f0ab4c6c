"""Two bridges, by affine algebra: kernels compose, and with the exact denoiser the chain ends at the posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, Sampler, per_image, split
from restore_jax.diffusion import bridge as bridges
from restore_jax.diffusion.bridge import Bridge, BridgeScale, I2sb, ResidualShift
from restore_jax.diffusion.sampler import noise_images
from restore_jax.diffusion.solver import jump

ULP = np.finfo(np.float32).eps
both = pytest.mark.parametrize(
    "bridge", [I2sb(), I2sb(0.1, 0.1), ResidualShift(), ResidualShift(0.3, 10.0, 1.0)], ids=str
)
samplers = pytest.mark.parametrize("spec", [one for one in bridges.EXAMPLES if "n_steps" in one], ids=str)
T = jnp.linspace(0.0, 1.0, 21)


def pixel(values) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape(-1, 1, 1, 1)


@both
def test_it_leads_from_x_to_y(bridge):
    weight, std = bridge.mean_weight(T), bridge.std(T)
    np.testing.assert_allclose(weight[jnp.array([0, -1])], [0, 1], atol=ULP)
    assert (np.diff(weight) > 0).all()
    assert std[0] == 0
    assert (std[-1] == 0) == bridge.pinned
    assert (std[1:-1] > 0).all()


@both
@pytest.mark.parametrize(("s", "t"), [(1.0, 0.9), (1.0, 0.0), (0.7, 0.3), (0.2, 0.15)])
def test_the_kernel_put_after_the_marginal_is_the_marginal(bridge, s, t):
    """Means and variances at s, pushed through `q(x_t | x_s, x)`, are those at t. The kernel's slope is read off it."""
    s, t = jnp.asarray(s), jnp.asarray(t)
    x, y = 0.2, 0.7
    (at_zero, at_one), std = bridge.posterior(pixel([x, x]), pixel([0, 1]), s, t)
    slope = at_one - at_zero
    mean = at_zero + slope * (x + bridge.mean_weight(s) * (y - x))
    # Sums of a few numbers of size 1, a variance relative to the largest: some roundings.
    np.testing.assert_allclose(mean.ravel(), [x + bridge.mean_weight(t) * (y - x)], atol=10 * ULP)
    variance = slope.ravel() ** 2 * bridge.std(s) ** 2 + std**2
    np.testing.assert_allclose(variance, [bridge.std(t) ** 2], atol=20 * ULP * float(bridge.variance(jnp.ones(()))))


class Loud(I2sb):
    """A planted bug: a step with the noise of a Brownian motion that is not told where it ends."""

    def posterior(self, x_hat, x, s, t):
        return super().posterior(x_hat, x, s, t)[0], jnp.sqrt(self.variance(s) - self.variance(t))


def test_the_wrong_kernel_is_found():
    with pytest.raises(AssertionError):
        test_the_kernel_put_after_the_marginal_is_the_marginal(Loud(), 0.7, 0.3)


def test_i2sb_is_the_paper_s():
    """Proposition 3.3 with sigma^2 and sigma_bar^2 integrated numerically, in numpy and float64."""
    bridge, grid = I2sb(0.1, 0.3), np.linspace(0, 1, 200_001)
    beta = (np.sqrt(0.1) + (np.sqrt(0.3) - np.sqrt(0.1)) * np.minimum(2 * grid, 2 - 2 * grid)) ** 2
    gathered = np.append(0, np.cumsum((beta[1:] + beta[:-1]) / 2 * np.diff(grid)))
    s2 = np.interp(np.asarray(T, np.float64), grid, gathered)
    bar2 = s2[-1] - s2
    np.testing.assert_allclose(bridge.mean_weight(T), s2 / (s2 + bar2), atol=20 * ULP)
    np.testing.assert_allclose(bridge.std(T) ** 2, s2 * bar2 / (s2 + bar2), atol=20 * ULP)
    mean, std = bridge.posterior(pixel(0.3), pixel(0.9), T[12], T[7])
    alpha2 = s2[12] - s2[7]
    np.testing.assert_allclose(mean.item(), (alpha2 * 0.3 + s2[7] * 0.9) / (alpha2 + s2[7]), rtol=20 * ULP)
    np.testing.assert_allclose(std**2, s2[7] * alpha2 / (alpha2 + s2[7]), rtol=40 * ULP)


def test_residual_shift_is_the_paper_s():
    """Geometric: between two times, 1 + (growth - 1) eta grows by growth^(difference of t^power)."""
    bridge = ResidualShift(kappa=2.0, growth=100.0, power=0.5)
    lifted = 1 + 99 * np.asarray(bridge.mean_weight(T), np.float64)
    np.testing.assert_allclose(np.log(lifted) / np.log(100), np.sqrt(np.asarray(T)), atol=20 * ULP)
    np.testing.assert_allclose(bridge.std(T), 2.0 * jnp.sqrt(bridge.mean_weight(T)), rtol=10 * ULP)


def test_the_limit_without_noise_is_the_straight_line(key):
    """I2SB, proposition 3.4: beta scaled to 0 leaves the line, the kernel's mean, and Euler's step in the clock V."""
    bridge, thin = I2sb(), I2sb(0.025e-12, 0.075e-12)
    x, y = pixel(np.linspace(0, 1, 5)), pixel(np.linspace(1, 0.5, 5))
    s, t = jnp.asarray(0.8), jnp.asarray(0.35)
    np.testing.assert_allclose(thin.mean_weight(T), bridge.mean_weight(T), rtol=20 * ULP, atol=ULP)
    line = x + bridge.mean_weight(s) * (y - x)
    np.testing.assert_allclose(thin.sample(key, x, y, s), line, atol=1e-5)  # noise of 1e-6 a unit
    mean, std = thin.posterior(x, line, s, t)
    assert std < 1e-6
    np.testing.assert_allclose(mean, x + bridge.mean_weight(t) * (y - x), atol=10 * ULP)
    np.testing.assert_allclose(mean, jump(x, line, bridge.variance(s), bridge.variance(t)), atol=10 * ULP)


# ------------------------------------------------------------------------------- sampling


def observed(n: int, y: float = 0.7) -> Observation:
    return Observation(y=jnp.full((n, 1, 1, 1), y)).with_cond(image=jnp.full((n, 1, 1, 1), y))


MEAN, VARIANCE, Y = 0.4, 0.03, 0.7  # of p(x | y), and the y


def gain(bridge, t):
    """Of `E[x | x_t, y] = MEAN + gain (x_t - E[x_t | y])`, at t = 1 too, where a pinned bridge has no noise left."""
    left = 1 - bridge.mean_weight(t)
    if bridge.pinned:
        return VARIANCE / (left * VARIANCE + bridge.variance(jnp.ones(())) * (1 - left))
    return left * VARIANCE / (left**2 * VARIANCE + bridge.std(t) ** 2)


def exact(bridge):
    def denoise(x_t, t):
        left = 1 - bridge.mean_weight(t)
        return MEAN + per_image(gain(bridge, t), x_t) * (x_t - per_image(left * MEAN + (1 - left) * Y, x_t))

    return denoise


def chain(bridge, n: int) -> tuple[float, float]:
    """Mean and variance of n steps with the exact denoiser, by the recursion of an affine chain in float64."""
    times = jnp.linspace(1, 0, n + 1)
    gathered, weight, slope = (
        np.asarray(each, np.float64)
        for each in (bridge.variance(times), bridge.mean_weight(times), gain(bridge, times))
    )
    centres = (1 - weight) * MEAN + weight * Y
    mean, variance = Y, float(bridge.std(times[0])) ** 2
    for k in range(n):
        a, r = slope[k], gathered[k + 1] / gathered[k]
        mean = r * mean + (1 - r) * (MEAN + a * (mean - centres[k]))
        variance = (r + (1 - r) * a) ** 2 * variance + r * (gathered[k] - gathered[k + 1])
    return mean, variance


@pytest.mark.parametrize("bridge", [I2sb(), ResidualShift(0.5, 10.0, 1.0)], ids=str)
def test_samples_are_the_chain_s_and_the_chain_ends_at_the_posterior(bridge, key):
    n = 20_000
    x = np.asarray(jax.jit(lambda: Bridge(bridge, 8)(key, exact(bridge), observed(n, Y)))(), np.float64)
    mean, variance = chain(bridge, 8)
    assert abs(mean - MEAN) < 1e-5  # an affine denoiser keeps means on the line, however few the steps
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / n)
    assert abs(x.var() - variance) < 4 * variance * np.sqrt(2 / n)
    biases = [abs(chain(bridge, steps)[1] / VARIANCE - 1) for steps in (64, 128, 256)]
    assert biases[-1] < 0.05
    assert abs(np.log2(biases[1] / biases[2]) - 1) < 0.25


@samplers
def test_where_the_photograph_is_known_it_is_the_end(spec, key):
    x = pixel(np.linspace(0, 1, 3))
    sampled = build(spec)(key, lambda x_t, t: x, observed(3))
    np.testing.assert_array_equal(sampled, x)


def test_the_deterministic_one_keeps_to_the_line(key):
    seen, x, bridge = [], pixel([0.1, 0.9]), I2sb()

    def denoise(x_t, t):
        jax.debug.callback(lambda *args: seen.append(args), t, x_t, ordered=True)
        return x

    Bridge(bridge, 5, stochastic=False)(key, denoise, observed(2))
    jax.effects_barrier()
    assert len(seen) == 5
    for (t, x_t), expected in zip(seen, np.linspace(1, 0, 6)):
        np.testing.assert_allclose(t, expected, atol=ULP)
        line = x + bridge.mean_weight(jnp.asarray(t)) * (0.7 - x)
        np.testing.assert_allclose(x_t, line, atol=20 * ULP)


@samplers
def test_it_is_a_sampler_that_counts_and_does_not_know_neighbours(spec, key):
    sample, calls, keys = build(spec), [], split(key, 3)

    def counted(x_t, t):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.tanh(x_t)

    assert isinstance(sample, Sampler)
    together = sample(keys, counted, observed(3))
    jax.effects_barrier()
    assert len(calls) == sample.nfe
    alone = sample(keys[1:2], counted, observed(1))
    np.testing.assert_allclose(together[1:2], alone, rtol=10 * ULP)
    assert len(noise_images(key, observed(1), sample.draws)) == sample.draws
    if sample.draws:
        assert abs(float(together[0, 0, 0, 0] - together[1, 0, 0, 0])) > 1e-4


def test_one_step_answers_the_denoiser(key):
    x = Bridge(I2sb(), 1)(key, lambda x_t, t: 2 * x_t + t, observed(2, 0.7))
    np.testing.assert_allclose(x, np.full((2, 1, 1, 1), 2.4), rtol=4 * ULP)


# ------------------------------------------------------------------------------- the parametrisation


@both
def test_scale_gives_unit_variance_and_inverts(bridge, key):
    scale, t = BridgeScale(bridge, residual=0.1), jnp.asarray([0.1, 0.5, 1.0])
    x, noise = pixel([0.3, 0.3, 0.3]), 1.0
    # y - x = +- 0.1 and n = +- 1: the mean square of what the network must say, over the four signs.
    squares = []
    for sign in (-1, 1):
        for n in (-noise, noise):
            weight, std = per_image(bridge.mean_weight(t), x), per_image(bridge.std(t), x)
            x_t = x + weight * sign * 0.1 + std * n
            raw = scale.from_x(x, x_t, t, observed(3))
            squares.append(raw**2)
            np.testing.assert_allclose(scale.to_x(raw, x_t, t, observed(3)), x, atol=10 * ULP)
    np.testing.assert_allclose(np.mean(squares, axis=0), np.ones((3, 1, 1, 1)), rtol=1e-4)


def test_scale_is_the_identity_at_x_and_tells_the_net_the_time(key):
    scale, x_t = BridgeScale(I2sb()), jax.random.uniform(key, (3, 2, 2, 1))
    obs = Observation(y=x_t).with_cond(image=x_t + 0.1)
    np.testing.assert_array_equal(scale.to_x(jnp.ones_like(x_t), x_t, jnp.zeros(()), obs), x_t)
    for t in (jnp.asarray(0.3), jnp.asarray([0.3, 0.3, 0.3])):
        shown, told, cond = scale.to_net(x_t, t, obs)
        np.testing.assert_array_equal(shown, x_t - 0.5)
        np.testing.assert_allclose(told, np.full(3, 0.3), rtol=ULP)
        np.testing.assert_array_equal(cond, obs.cond["image"] - 0.5)
    np.testing.assert_array_equal(scale.to_net(x_t, t, Observation(y=x_t))[2], jnp.zeros_like(x_t))
    assert BridgeScale(I2sb(), sees=()).to_net(x_t, t, obs)[2] is None


def test_what_cannot_be_says_so(key):
    for wrong, name in (
        (lambda: ResidualShift(kappa=0.0), "kappa"),
        (lambda: ResidualShift(growth=1.0), "growth"),
        (lambda: ResidualShift(power=0.0), "power"),
        (lambda: I2sb(0.3, 0.1), r"I2sb\.beta_min"),
        (lambda: Bridge(I2sb(), 0), r"Bridge\.n_steps"),
        (lambda: BridgeScale(I2sb(), 0.0), r"BridgeScale\.residual"),
        (lambda: Bridge(I2sb())(key, lambda x, t: x, Observation(y=jnp.zeros((1, 1, 1, 1)))), 'cond."image".'),
    ):
        with pytest.raises(ValueError, match=name):
            wrong()
