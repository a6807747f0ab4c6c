import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, TrainState
from restore_jax.diffusion import precondition
from restore_jax.diffusion.precondition import Edm, Residual
from restore_jax.targets.denoise import Denoise

SHAPE = (4, 5, 3, 2)
ULP = np.finfo(np.float32).eps

examples = pytest.mark.parametrize("spec", precondition.EXAMPLES, ids=str)


@pytest.fixture
def obs(key) -> Observation:
    return Observation(y=jnp.zeros(SHAPE)).with_cond(image=jax.random.uniform(key, SHAPE))


@examples
def test_net_is_given_a_picture_a_level_and_a_condition(spec, obs, key):
    x_t, sigma = jax.random.normal(key, SHAPE), jnp.asarray([0.0, 0.1, 1.0, 80.0])
    conversion = build(spec)
    x, c_noise, cond = conversion.to_net(x_t, sigma, obs)
    assert x.shape == SHAPE
    assert c_noise is None or c_noise.shape == SHAPE[:1]
    assert cond is None or cond.shape == SHAPE
    assert all(np.isfinite(part).all() for part in (x, c_noise, cond) if part is not None)
    assert conversion.to_x(x, x_t, sigma, obs).shape == SHAPE


@examples
def test_level_per_image_is_level_one_by_one(spec, obs, key):
    x_t, sigma = jax.random.normal(key, SHAPE), jnp.asarray([0.0, 0.1, 1.0, 80.0])
    conversion = build(spec)
    raw = conversion.to_net(x_t, sigma, obs)[0]
    together = conversion.to_x(raw, x_t, sigma, obs)
    for i in range(4):
        one = Observation(y=obs.y[i : i + 1]).with_cond(image=obs.cond["image"][i : i + 1])
        inputs = conversion.to_net(x_t[i : i + 1], sigma[i], one)
        np.testing.assert_allclose(inputs[0], raw[i : i + 1], rtol=4 * ULP)
        single = conversion.to_x(inputs[0], x_t[i : i + 1], sigma[i], one)
        # m + a + b, terms of size up to 4: a few roundings of 4
        np.testing.assert_allclose(single, together[i : i + 1], rtol=0, atol=16 * ULP)


@pytest.mark.parametrize("around", ["grey", "image"])
@pytest.mark.parametrize("sigma_data", [0.1, 0.25])
@pytest.mark.parametrize("sigma", [0.01, 0.2, 5.0])
def test_edm_keeps_unit_variance_and_c_out_least(obs, around, sigma_data, sigma):
    """EDM, appendix B.6: eq. 114 (the input's variance is 1), eq. 122 (the target's too), eq. 131 (c_out is least).

    No sampling: over `x = m +- sigma_data`, `n = +- 1` in all four signs, the moments of order two are those of
    any independent x and n, and to_net and to_x are affine in x_t and raw.
    """
    edm = Edm(sigma_data, around)
    m = jnp.full(SHAPE, 0.5) if around == "grey" else obs.cond["image"]
    level = jnp.asarray(sigma)
    inputs, targets = [], []
    for a, b in itertools.product((-1, 1), (-1, 1)):
        x = m + a * sigma_data
        x_t = x + b * sigma
        inputs.append(edm.to_net(x_t, level, obs)[0])
        at_zero = edm.to_x(jnp.zeros(SHAPE), x_t, level, obs)
        c_out = edm.to_x(jnp.ones(SHAPE), x_t, level, obs) - at_zero
        targets.append((x - at_zero) / c_out)
    # Rounding of x_t, 5 eps, is seen through c_in <= 10 or 1 / c_out <= 100; squaring doubles it.
    np.testing.assert_allclose(np.mean(np.square(inputs), 0), 1, atol=2 * 10 * 5 * ULP)
    np.testing.assert_allclose(np.mean(np.square(targets), 0), 1, atol=2 * 100 * 5 * ULP)
    np.testing.assert_allclose(np.mean(targets, 0), 0, atol=100 * 5 * ULP)

    def residual(c_skip):  # the deviation that is left to the network, for another c_skip
        return np.sqrt((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * sigma**2)

    np.testing.assert_allclose(c_out, residual(np.linspace(0, 1, 10_001)).min(), rtol=1e-4)


@pytest.mark.parametrize("around", ["grey", "image"])
def test_edm_is_the_identity_at_level_zero(obs, key, around):
    x_t = jax.random.normal(key, SHAPE)
    answer = Edm(0.25, around).to_x(100 * jax.random.normal(key, SHAPE), x_t, jnp.zeros(4), obs)
    np.testing.assert_allclose(answer, x_t, atol=4 * ULP)  # m + 1 (x_t - m)


def test_edm_answers_the_mean_where_nothing_is_seen(obs, key):
    """At sigma -> inf and raw = 0, D = m; around the image, sampling and regression both start there."""
    x_t = jax.random.normal(key, SHAPE)
    for around, m in (("grey", jnp.full(SHAPE, 0.5)), ("image", obs.cond["image"])):
        answer = Edm(0.25, around).to_x(jnp.zeros(SHAPE), x_t, jnp.asarray(1e5), obs)
        np.testing.assert_allclose(answer, m, atol=1e-6)  # c_skip = (0.25 / 1e5)^2


def test_edm_tells_the_net_log_sigma_and_the_centred_image(obs, key):
    _, c_noise, cond = Edm().to_net(jax.random.normal(key, SHAPE), jnp.asarray([0.5, 1.0, np.e, 80]), obs)
    np.testing.assert_allclose(c_noise, np.log([0.5, 1, np.e, 80]) / 4, atol=4 * ULP)
    np.testing.assert_array_equal(cond, obs.cond["image"] - 0.5)
    blank = Observation(y=jnp.zeros(SHAPE))
    np.testing.assert_array_equal(Edm().to_net(jnp.zeros(SHAPE), jnp.ones(4), blank)[2], np.zeros(SHAPE))
    assert Edm(sees=()).to_net(jnp.zeros(SHAPE), jnp.ones(4), obs)[2] is None


def test_weight_of_denoise_undoes_c_out(obs, key):
    """Loss weight 1 / c_out^2: every level has the loss of a net's error against a target of unit variance."""
    x = jax.random.uniform(key, SHAPE)
    said = Denoise(sigma_data=0.1)(key, lambda *_: None, TrainState(0, {}, {}, (), key), obs, x)
    x_t, sigma = said.inputs
    edm = Edm(0.1)
    c_out = edm.to_x(jnp.ones(SHAPE), x_t, sigma, obs) - edm.to_x(jnp.zeros(SHAPE), x_t, sigma, obs)
    # For sigma > 0.05, c_out > 0.04: 1 / 0.04 of the roundings of numbers of size 1 that it is a difference of.
    assert sigma.min() > 0.05
    np.testing.assert_allclose(said.weight[:, None, None, None] * c_out**2, jnp.ones(SHAPE), rtol=2 * 25 * 4 * ULP)


def test_residual_adds_and_knows_no_level(obs, key):
    x_t = jax.random.uniform(key, SHAPE)
    x, c_noise, cond = Residual().to_net(x_t, jnp.zeros(4), obs)
    np.testing.assert_array_equal(x, x_t - 0.5)
    assert c_noise is None
    assert cond is None
    np.testing.assert_array_equal(Residual().to_x(2 * x_t, x_t, jnp.zeros(4), obs), x_t + 2 * x_t)


def test_edm_refuses_what_it_cannot_be():
    with pytest.raises(ValueError, match="sigma_data must be above 0"):
        Edm(0.0)
    with pytest.raises(ValueError, match="'grey' or 'image'"):  # past the check of types that only tests have
        Edm.__post_init__(SimpleNamespace(sigma_data=0.25, around="blue"))


def test_plain_and_direct_say_what_the_network_says(obs, key):
    """One of x_t, told the level as it is; the other of y."""
    x_t, sigma = jax.random.uniform(key, SHAPE), jnp.asarray([0.0, 0.1, 1.0, 80.0])
    seen = Observation(y=x_t + 1, cond=obs.cond)
    x, c_noise, cond = precondition.Plain().to_net(x_t, sigma, seen)
    np.testing.assert_array_equal(x, x_t)
    np.testing.assert_array_equal(c_noise, sigma)
    assert cond is None
    x, c_noise, cond = precondition.Direct().to_net(x_t, sigma, seen)
    np.testing.assert_array_equal(x, seen.y)
    assert c_noise is None
    assert cond is None
    for conversion in (precondition.Plain(), precondition.Direct()):
        np.testing.assert_array_equal(conversion.to_x(2 * x_t, x_t, sigma, seen), 2 * x_t)


AFFINE = [spec for spec in precondition.EXAMPLES if issubclass(type(build(spec)), precondition._Affine)]


@examples
def test_from_x_is_the_inverse_of_to_x(spec, obs, key):
    x_t, sigma = jax.random.normal(key, SHAPE), jnp.asarray([0.05, 0.1, 1.0, 10.0])
    conversion, raw = build(spec), jax.random.normal(jax.random.key(1), SHAPE)
    back = conversion.from_x(conversion.to_x(raw, x_t, sigma, obs), x_t, sigma, obs)
    # Sums of numbers up to 10, divided by c_out > 0.04: 25 * 10 * a few roundings
    np.testing.assert_allclose(back, raw, atol=2000 * ULP)


@pytest.mark.parametrize("spec", AFFINE, ids=str)
def test_every_parametrisation_is_the_identity_at_level_zero(spec, obs, key):
    x_t = jax.random.normal(key, SHAPE)
    answer = build(spec).to_x(jax.random.normal(key, SHAPE), x_t, jnp.zeros(4), obs)
    np.testing.assert_allclose(answer, x_t, atol=4 * ULP)


def parts(key, d):
    """`x = 1/2 + d z_0`, its noise n, and x_t at four levels."""
    z, n = jax.random.normal(key, SHAPE), jax.random.normal(jax.random.key(1), SHAPE)
    sigma = jnp.asarray([0.05, 0.1, 1.0, 10.0])
    return z, n, sigma, 0.5 + d * z + sigma[:, None, None, None] * n


def test_a_network_of_flow_moves_on_straight_lines(obs, key):
    """Its input is `(1 - tau) z_0 + tau n`, its output `n - z_0`, the line's velocity (Lipman et al., eq. 20-23)."""
    d = 0.25
    z, n, sigma, x_t = parts(key, d)
    flow = precondition.Flow(d)
    inputs, tau, _ = flow.to_net(x_t, sigma, obs)
    np.testing.assert_allclose(tau, sigma / (sigma + d), rtol=4 * ULP)
    at = np.asarray(tau)[:, None, None, None]
    np.testing.assert_allclose(inputs, (1 - at) * z + at * n, atol=50 * ULP)
    np.testing.assert_allclose(flow.from_x(0.5 + d * z, x_t, sigma, obs), n - z, atol=2000 * ULP)


def test_a_network_of_vp_predicts_v_or_the_noise(obs, key):
    """Its input is `a z_0 + b n`, a^2 + b^2 = 1; v = a n - b z_0 (Salimans & Ho, 4), eps = n (Ho et al., eq. 11)."""
    d = 0.25
    z, n, sigma, x_t = parts(key, d)
    a = np.asarray(d / np.sqrt(d**2 + sigma**2))[:, None, None, None]
    b = np.sqrt(1 - a**2)
    v, eps = precondition.V(d), precondition.Eps(d)
    np.testing.assert_allclose(v.to_net(x_t, sigma, obs)[0], a * z + b * n, atol=50 * ULP)
    np.testing.assert_allclose(eps.to_net(x_t, sigma, obs)[0], a * z + b * n, atol=50 * ULP)
    np.testing.assert_allclose(v.from_x(0.5 + d * z, x_t, sigma, obs), a * n - b * z, atol=2000 * ULP)
    np.testing.assert_allclose(eps.from_x(0.5 + d * z, x_t, sigma, obs), n, atol=2000 * ULP)


def test_a_network_of_trigflow_answers_the_derivative_in_its_angle(obs, key):
    """`x_t = cos(t) x + sin(t) d n` and d F = dx_t/dt, by autodiff (Lu & Song, section 3)."""
    d = 0.25
    z, n, sigma, x_t = parts(key, d)
    trig = precondition.Trig(d)
    inputs, t, _ = trig.to_net(x_t, sigma, obs)

    def path(t):
        at = t[:, None, None, None]
        return jnp.cos(at) * z + jnp.sin(at) * n  # in units of d

    np.testing.assert_allclose(inputs, path(t), atol=50 * ULP)
    _, slope = jax.jvp(path, (t,), (jnp.ones_like(t),))
    np.testing.assert_allclose(trig.from_x(0.5 + d * z, x_t, sigma, obs), slope, atol=2000 * ULP)


@pytest.mark.parametrize("spec", AFFINE, ids=str)
def test_a_flow_map_s_network_is_told_both_levels(spec, obs, key):
    conversion, x_t = build(spec), jax.random.normal(key, SHAPE)
    s, t = jnp.asarray([0.1, 0.5, 1.0, 80.0]), jnp.asarray([0.1, 0.05, 0.5, 0.0])
    both = conversion.to_net(x_t, s, obs.with_cond(until=t))[1]
    np.testing.assert_array_equal(both, np.stack([conversion.c_noise(s), conversion.c_noise(t)], -1))
    one = conversion.to_net(x_t, s[1], obs.with_cond(until=t))[1]
    np.testing.assert_array_equal(one[:, 1], conversion.c_noise(t))
    assert one.shape == (4, 2)
