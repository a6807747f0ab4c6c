"""Score distillation in the Gaussian world, where all three players have closed forms.

Each player is one affine map, `m + shift + U (V / (V + sigma^2))^power U^T (x_t - m - before)` with V = gain^2 L:

    the denoiser of N(m + shift, gain^2 S)     before = shift, power = 1
    a generator of N(m + shift, gain^2 S)      before = 0, power = 1/2, asked at a level far above its deviations
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import SpecError, build
from restore_jax.core import Method, Observation, Restorer, TrainState, normal, split
from restore_jax.diffusion.sampler import Consistency, Ode
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.diffusion.solver import Euler
from restore_jax.methods import score_distill
from restore_jax.methods.regression import Regression
from restore_jax.methods.score_distill import ScoreDistill
from restore_jax.metrics.pixel import Mse
from restore_jax.targets.denoise import Denoise
from restore_jax.testing.gaussian import GaussianWorld

ULP = np.finfo(np.float32).eps
SHAPE = (2, 2, 2)
S = 0.3
WORLD = GaussianWorld.draw(jax.random.key(7), SHAPE, low=0.05)
NOWHERE = jnp.zeros(SHAPE)
SHIFT = 0.1 * jax.random.normal(jax.random.key(8), SHAPE)


@dataclass(frozen=True)
class Affine(Regression):
    """A Regression whose network is the map above."""

    world: Any = WORLD

    def evaluate(self, params, x_t, sigma, obs):
        world = replace(self.world, eigenvalues=params["gain"] ** 2 * self.world.eigenvalues)
        z = (x_t - world.mean[None] - params["before"][None]).reshape(x_t.shape[0], -1) @ world.basis
        variance = world.eigenvalues[None]
        ratio = (variance / (variance + jnp.broadcast_to(sigma, x_t.shape[:1])[:, None] ** 2)) ** params["power"]
        return (world.mean + params["shift"])[None] + ((z * ratio) @ world.basis.T).reshape(x_t.shape)

    def init(self, key, obs, x):
        return denoiser()


def denoiser(shift=NOWHERE, gain=1.0):
    return {"shift": shift, "before": shift, "gain": jnp.float32(gain), "power": jnp.float32(1.0)}


def generator(shift=NOWHERE, gain=1.0):
    return {"shift": shift, "before": jnp.zeros(SHAPE), "gain": jnp.float32(gain), "power": jnp.float32(0.5)}


AT_S = LogNormal(float(np.log(S)), 1e-9)  # the one level S


def method(levels=AT_S, sigmas=(80.0,), **fields) -> ScoreDistill:
    affine = Affine(None, None, Denoise(LogNormal(-1.0, 0.5)), Mse(), Consistency(sigmas))
    return ScoreDistill(affine, levels, **fields)


def case(key, n=6, shift=SHIFT, gain=1.3, fake=None):
    """Parameters, state, observation and pictures; the fake is exact unless given."""
    x = WORLD.sample(key, n)
    params = {"generator": generator(shift, gain), "fake": fake or denoiser(shift, gain)}
    return params, TrainState(jnp.asarray(0), params, params, (), key, {"teacher": denoiser()}), Observation(y=x), x


def gradient(method, params, state, obs, x, key):
    return jax.jit(jax.grad(lambda p: method.loss(p, state, obs, x, key)[0]))(params)


# ------------------------------------------------------------------------------- the generator's gradient


def test_no_direction_where_the_densities_agree(key):
    """G the exact consistency function, D_fake = D_real: the generator's gradient is 0, to the bit."""
    params, state, obs, x = case(key, shift=jnp.zeros(SHAPE), gain=1.0)
    for leaf in jax.tree.leaves(gradient(method(LogNormal(), (80.0, S)), params, state, obs, x, key)["generator"]):
        np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


def parts(x_hat, key):
    """x_t and the normaliser of `direction`, again."""
    x_t = x_hat + S * normal(split(key)[1], x_hat.shape)
    real = WORLD.denoise(x_t, S)
    return x_t, np.mean(np.abs(np.asarray(x_hat - real, np.float64)), axis=(1, 2, 3))


def test_a_shifted_generator_is_pushed_back_by_the_gradient_of_kl(key):
    """KL between two Gaussians of one covariance C = S + sigma^2 is `shift^T C^-1 shift / 2`; gradient C^-1 shift."""
    params, state, obs, x = case(key, gain=1.0)
    x_hat = x + SHIFT[None]
    away = method().direction(params["fake"], state.frozen["teacher"], key, obs, x_hat)
    _, size = parts(x_hat, key)
    exact = np.linalg.solve(np.asarray(WORLD.covariance, np.float64) + S**2 * np.eye(8), np.ravel(SHIFT))
    found = np.asarray(away).reshape(6, 8) * size[:, None] / S**2
    # A difference of two estimates of order one, over S^2: some ten roundings of 1 / 0.09.
    np.testing.assert_allclose(found, np.broadcast_to(exact, (6, 8)), atol=300 * ULP)
    back = gradient(method(), params, state, obs, x, key)["generator"]["shift"]
    cosine = np.vdot(back, exact) / np.linalg.norm(back) / np.linalg.norm(exact)
    assert cosine == pytest.approx(1.0, abs=1e-4)  # w changes from image to image, the direction does not


@pytest.mark.parametrize("gain", [0.7, 1.4])
def test_a_generator_of_another_width_is_pushed_back_by_the_gradient_of_kl(gain, key):
    """`dKL/dg = sum g L (1 / (L + s^2) - 1 / (g^2 L + s^2))`, of either sign, in four standard errors."""
    n = 20_000
    scatter = gain * (WORLD.sample(key, n) - WORLD.mean[None])
    key_direction = jax.random.key(5)
    x_hat = WORLD.mean[None] + scatter
    direction = jax.jit(method().direction)
    away = direction(denoiser(gain=gain), denoiser(), key_direction, Observation(y=x_hat), x_hat)
    _, size = parts(x_hat, key_direction)
    each = np.asarray((away * scatter / gain).sum((1, 2, 3)), np.float64) * size / S**2
    eigenvalues = np.asarray(WORLD.eigenvalues, np.float64)
    exact = np.sum(gain * eigenvalues * (1 / (eigenvalues + S**2) - 1 / (gain**2 * eigenvalues + S**2)))
    assert abs(each.mean() - exact) < 4 * each.std() / np.sqrt(n)
    assert abs(exact) > 20 * each.std() / np.sqrt(n)  # a wrong sign, or a factor of two, would be seen
    assert np.sign(exact) == np.sign(gain - 1)


# ------------------------------------------------------------------------------- two players


def test_each_player_has_its_own_gradient_and_one_that_leaks_is_found(key, monkeypatch):
    """`E[away^T d x_hat] / (b h w c)`, and that of denoising; the generator's value is half the square of `away`."""
    fake = denoiser(2 * SHIFT, 0.8)  # one that still has to learn
    params, state, obs, x = case(key, fake=fake)
    one = method()
    keys = split(key, 3)
    lifted = obs.with_cond(image=obs.y)
    x_hat = one.generate(params["generator"], keys[0], lifted, x)
    away = one.direction(fake, state.frozen["teacher"], keys[1], lifted, x_hat)

    def apart(p):  # each player's loss with the other's numbers as constants
        generators = jnp.sum(away * one.generate(p["generator"], keys[0], lifted, x)) / x.size
        return generators + one.generator.loss(p["fake"], state, obs, x_hat, keys[2])[0]

    def together(p):
        loss, logged = one.loss(p, state, obs, x, key)
        return loss, logged["generator"]

    alone = jax.jit(jax.grad(apart))(params)
    found, value = jax.jit(jax.grad(together, has_aux=True))(params)
    np.testing.assert_allclose(value, np.mean(away**2) / 2, rtol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (found, alone))):
        assert np.abs(b).max() > 1e-4
        # Sums over 48 pixels in another order, of terms some ten times the sum.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-6)

    monkeypatch.setattr(score_distill.jax.lax, "stop_gradient", lambda tree: tree)
    leaking, _ = jax.jit(jax.grad(lambda p: together(p), has_aux=True))(params)
    for name in alone:
        leak = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (leaking[name], alone[name]))))
        assert leak > 1e-3, name


def test_the_fake_rests_at_the_denoiser_of_what_is_generated(key):
    """Its mean gradient is 0 there, in standard errors over 100 batches, and is not at the denoiser of photographs."""

    def scores(fake):
        params, state, obs, x = case(key, n=32, fake=fake)
        grads = jax.jit(jax.vmap(lambda k: gradient(method(), params, state, obs, x, k)["fake"]))(split(key, 100))
        each = np.concatenate([np.reshape(leaf, (100, -1)) for leaf in jax.tree.leaves(grads)], axis=1)
        return np.abs(each.mean(0) / each.std(0)) * np.sqrt(100)

    assert (scores(denoiser(SHIFT, 1.3)) < 4.5).all()  # of 18 numbers
    assert scores(denoiser()).max() > 10


# ------------------------------------------------------------------------------- what is generated


def test_generated_pictures_are_the_sampler_s(key):
    """One level after another from its own samples: at every level the exact generator's are photographs.

    Covariances of N pictures are uncertain by sqrt((C_ij^2 + C_ii C_jj) / N).
    """
    n = 20_000
    x = jnp.zeros((n, *SHAPE))
    obs = Observation(y=x).with_cond(image=x)
    x_hat = jax.jit(method(sigmas=(80.0, 0.5, 0.1)).generate)(generator(), key, obs, x)
    flat = np.asarray(x_hat - WORLD.mean[None], np.float64).reshape(n, 8)
    exact = np.asarray(WORLD.covariance, np.float64)
    error = np.sqrt((exact**2 + np.outer(np.diag(exact), np.diag(exact))) / n)
    assert (np.abs(flat.T @ flat / n - exact) < 4.5 * error).all()
    # grey stands for the mean at level 80: off by at most 80^-1 of a deviation
    assert (np.abs(flat.mean(0)) < (4.5 / np.sqrt(n) + 1 / 80) * np.sqrt(np.diag(exact))).all()


def test_each_level_is_asked_equally_often_and_only_the_last_is_differentiated(key):
    """The level each image was asked at, told by a player that answers it."""
    n = 3000

    class Asked(Affine):
        def evaluate(self, params, x_t, sigma, obs):
            return 0.0 * x_t + (params * sigma)[:, None, None, None]

    one = ScoreDistill(Asked(None, None, Denoise(), Mse(), Consistency((8.0, 2.0, 1.0))))
    x = jnp.zeros((n, *SHAPE))
    obs = Observation(y=x).with_cond(image=x)
    asked, slope = jax.jvp(jax.jit(lambda p: one.generate(p, key, obs, x)), (jnp.ones(()),), (jnp.ones(()),))
    levels, counts = np.unique(asked[:, 0, 0, 0], return_counts=True)
    np.testing.assert_array_equal(levels, [1.0, 2.0, 8.0])
    assert (np.abs(counts - n / 3) < 4 * np.sqrt(n * 2 / 9)).all()
    np.testing.assert_array_equal(asked, slope)


def test_the_loss_of_a_batch_is_the_mean_over_its_halves(key):
    params, state, obs, x = case(key)
    one, keys = method(LogNormal(), (80.0, S), pixel=0.5), jax.random.split(key, 6)
    whole = jax.jit(lambda y, x, keys: one.loss(params, state, Observation(y=y), x, keys)[0])
    loss = lambda i: whole(obs.y[i], x[i], keys[i])
    halves = (loss(slice(0, 3)) + loss(slice(3, 6))) / 2
    np.testing.assert_allclose(loss(slice(0, 6)), halves, rtol=1e-5)


def test_pixel_holds_x_hat_to_its_own_photograph(key):
    params, state, obs, x = case(key)
    x_hat = method().generate(params["generator"], split(key, 3)[0], obs.with_cond(image=obs.y), x)
    plain, held = (method(pixel=p).loss(params, state, obs, x, key)[0] for p in (0.0, 2.0))
    np.testing.assert_allclose(held - plain, 2 * np.mean((x_hat - x) ** 2), rtol=1e-4)


# ------------------------------------------------------------------------------- the method


def test_both_players_start_where_the_teacher_ended(key):
    one = build(score_distill.EXAMPLES[0])
    x = jnp.zeros((1, 8, 8, 3))
    assert isinstance(one, Method)
    shapes = jax.eval_shape(lambda x: one.init(key, Observation(y=x), x), x)
    fresh = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    theirs = jax.tree.map(lambda leaf: leaf + 1, fresh["fake"])
    for player in one.adopt(fresh, theirs).values():
        jax.tree.map(np.testing.assert_array_equal, player, theirs)
    with pytest.raises(SpecError, match="/other, and ours does not"):
        one.adopt(fresh, {"other": theirs})


def test_the_generator_restores(key):
    params, *_ = case(key)
    one = method(sigmas=(80.0, S))
    assert isinstance(one.restorer(params), Restorer)
    assert one.restorer(params).params is params["generator"]
    assert one.restorer(params).nfe == 2
    assert one.restorer(params, Ode(Euler(), n_steps=3)).nfe == 3


def test_mistakes_are_named(key):
    params, state, obs, x = case(key)
    with pytest.raises(ValueError, match=r"state.frozen\[.teacher.\]: set config.teacher"):
        method().loss(params, state.replace(frozen={}), obs, x, key)
    with pytest.raises(ValueError, match="pixel must be 0 or above, not -1"):
        method(pixel=-1.0)
    with pytest.raises(ValueError, match="levels above 0"):
        method(sigmas=(80.0, 0.0))
    with pytest.raises(ValueError, match="must be Consistency"):
        ScoreDistill(replace(method().generator, sampler=Ode(Euler())))
