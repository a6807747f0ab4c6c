"""Two players of which each is a few numbers, so that both losses can be written out."""

from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Method, Observation, Restorer, Supervision, TrainState
from restore_jax.diffusion.precondition import Residual
from restore_jax.diffusion.sampler import Consistency
from restore_jax.methods import adversarial, rival
from restore_jax.methods.adversarial import AdversarialConsistency
from restore_jax.methods.gan import Term
from restore_jax.methods.regression import Regression
from restore_jax.methods.rival import Rival
from restore_jax.methods.view import View
from restore_jax.metrics.pixel import Charbonnier, Mse
from restore_jax.targets.clean import Clean

ULP = np.finfo(np.float32).eps
SHAPE = (3, 4, 5, 2)


class Dense(nn.Module):
    """Each pixel by itself: a generator's correction of it, or a logit."""

    features: int
    factor = 1
    receptive_px = 0

    @nn.compact
    def __call__(self, x, cond=None, image=None):
        seen = x if cond is None else jnp.concatenate([x, cond], -1)
        return nn.Dense(self.features)(seen)


class Corrected(nn.Module):
    """A generator: `net(x, c_noise, cond)`."""

    factor = 1
    receptive_px = 0

    @nn.compact
    def __call__(self, x, c_noise=None, cond=None):
        return nn.Dense(x.shape[-1])(x)


def method(**fields) -> AdversarialConsistency:
    generator = Regression(Corrected(), Residual(), Clean(), Mse(), Consistency((0.0,), "image"))
    return AdversarialConsistency(generator, Rival(Dense(1), **fields))


def dense(rng, inputs, outputs, size=0.3):
    kernel, bias = size * rng.normal(size=(inputs, outputs)), size * rng.normal(size=outputs)
    return {"Dense_0": {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}}


def case(key, inputs=4):
    """Parameters at random, state, observation, pictures; the logits straddle the hinges at -1 and 1."""
    rng = np.random.default_rng(1)
    params = {"generator": dense(rng, 2, 2), "discriminator": dense(rng, inputs, 1, 2.0)}
    x = jax.random.uniform(key, SHAPE)
    y = x + 0.3 * jax.random.normal(jax.random.fold_in(key, 1), SHAPE)
    return params, TrainState(jnp.asarray(0), params, params, (), key), Observation(y=y), x


def numbers(layer):
    return (np.asarray(layer["Dense_0"][part], np.float64) for part in ("kernel", "bias"))


def by_hand(params, obs, x, weight, r1):
    """Both losses and the hinge's inputs, in numpy."""
    w, b = numbers(params["generator"])
    a, c = numbers(params["discriminator"])
    y, x = np.asarray(obs.y, np.float64), np.asarray(x, np.float64)
    x_hat = y + (y - 0.5) @ w + b
    judge = lambda x: np.concatenate([2 * x - 1, 2 * y - 1], -1) @ a + c  # a logit a pixel
    real, fake = judge(x), judge(x_hat)
    generator = np.mean((x_hat - x) ** 2) - weight * fake.mean()
    hinges = np.mean(np.maximum(0, 1 - real) + np.maximum(0, 1 + fake))
    # J is the mean over 4 x 5 pixels of 2 a x: its gradient is 2 a / 20 at each of the 20
    penalty = r1 / 2 * np.sum((2 * a[:2] / 20) ** 2) * 20
    return generator, hinges, penalty, real, fake


@pytest.mark.parametrize(("weight", "r1"), [(0.1, 0.0), (0.7, 30.0)])
def test_the_loss_by_hand(key, weight, r1):
    params, state, obs, x = case(key)
    loss, logged = jax.jit(method(weight=weight, r1=r1).loss)(params, state, obs, x, key)
    generator, hinges, penalty, real, fake = by_hand(params, obs, x, weight, r1)
    assert (np.abs(np.concatenate([real, fake])) < 1).any()  # inside a hinge
    np.testing.assert_allclose(logged["generator"], generator, rtol=100 * ULP)
    np.testing.assert_allclose(logged["discriminator"], hinges, rtol=100 * ULP)
    np.testing.assert_allclose(logged["told_apart"], real.mean() - fake.mean(), rtol=1000 * ULP)
    np.testing.assert_allclose(loss, generator + hinges + penalty, rtol=100 * ULP)


def test_a_view_changes_no_pixel(key):
    """As of `tests/methods/test_gan.py`; the hinge is a mean of pixels, and the condition goes with them."""
    params, state, obs, x = case(key)
    near = replace(method(weight=0.1), losses=(Term(Mse()),))
    plain, viewed = (jax.jit(replace(near, view=view).loss)(params, state, obs, x, key)[1] for view in (None, View()))
    for name in plain:
        np.testing.assert_allclose(viewed[name], plain[name], rtol=500 * ULP, atol=ULP, err_msg=name)


def test_what_holds_x_hat_to_the_photograph_is_added_by_its_weight(key):
    params, state, obs, x = case(key)
    near = replace(method(weight=0.1), losses=(Term(Charbonnier(eps=0.1), 0.5), Term(Mse(), 2.0)))
    _, logged = jax.jit(near.loss)(params, state, obs, x, key)
    generator, *_ = by_hand(params, obs, x, 0.1, 0.0)
    y, (w, b) = np.asarray(obs.y, np.float64), numbers(params["generator"])
    error = (y + (y - 0.5) @ w + b - np.asarray(x, np.float64)) ** 2
    rough = np.mean(np.sqrt(error + 0.1**2) - 0.1)
    np.testing.assert_allclose(logged["charbonnier"], rough, rtol=100 * ULP)
    np.testing.assert_allclose(logged["mse"], error.mean(), rtol=100 * ULP)
    np.testing.assert_allclose(logged["generator"], generator + 0.5 * rough + 2.0 * error.mean(), rtol=100 * ULP)


def test_each_player_has_its_own_gradient_and_one_that_leaks_is_found(key, monkeypatch):
    params, state, obs, x = case(key)
    one = method(weight=0.7, r1=3.0)
    judge = lambda disc, x: one.rival.maps(disc, x, lifted)[0]
    lifted = obs.with_cond(image=obs.y)
    answer = lambda p: one.generator.evaluate(p, obs.y, jnp.zeros(3), lifted)
    disc, x_hat = params["discriminator"], answer(params["generator"])

    def apart(p):  # each player's loss with the other's numbers as constants
        said = answer(p["generator"])
        generators = jnp.mean((said - x) ** 2) - 0.7 * jnp.mean(judge(disc, said))
        real, fake = judge(p["discriminator"], x), judge(p["discriminator"], x_hat)
        squared = jnp.sum((2 * p["discriminator"]["Dense_0"]["kernel"][:2] / 20) ** 2) * 20
        return generators + jnp.mean(jnp.maximum(0, 1 - real) + jnp.maximum(0, 1 + fake)) + 1.5 * squared

    together = lambda p: one.loss(p, state, obs, x, key)[0]
    alone, found = jax.jit(jax.grad(apart))(params), jax.jit(jax.grad(together))(params)
    for player in alone.values():  # but for the discriminator's bias, where the hinges balance
        assert np.abs(player["Dense_0"]["kernel"]).max() > 1e-3
    for a, b in zip(*map(jax.tree.leaves, (found, alone))):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # sums over 120 numbers in another order

    monkeypatch.setattr(rival.jax.lax, "stop_gradient", lambda tree: tree)
    leaking = jax.jit(jax.grad(lambda p: together(p)))(params)
    for name in alone:
        leak = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (leaking[name], alone[name]))))
        assert leak > 1e-3, name


def test_where_the_discriminator_cannot_tell_it_says_two(key):
    """At x_hat = x, the equilibrium, hinges inside (-1, 1) add up to 2 whatever the discriminator is."""
    params, state, _, x = case(key)
    still = jax.tree.map(jnp.zeros_like, params["generator"])
    params = {"generator": still, "discriminator": dense(np.random.default_rng(2), 4, 1, 0.1)}
    _, logged = method().loss(params, state, Observation(y=x), x, key)
    np.testing.assert_allclose(logged["discriminator"], 2.0, rtol=10 * ULP)
    assert logged["told_apart"] == 0


@dataclass(frozen=True)
class OfTheAverage:
    """A target that shows which parameters it is given: its answer is that of the average's network."""

    def __call__(self, key, net, state, obs, x):
        answer = net(state.ema, x, jnp.zeros(3), obs) + net(state.params, x, jnp.zeros(3), obs)
        return Supervision(inputs=(x, jnp.zeros(3)), target=answer, weight=jnp.full(3, 2.0))


def test_a_target_speaks_of_the_generator(key):
    """Consistency targets ask the average and the network themselves: those of the generator alone."""
    params, state, obs, x = case(key)
    average = jax.tree.map(lambda leaf: 0.5 * leaf, params)
    one = method(weight=0.0)
    one = replace(one, generator=replace(one.generator, target=OfTheAverage()))
    _, logged = one.loss(params, state.replace(ema=average), obs, x, key)
    w, b = numbers(params["generator"])
    x = np.asarray(x, np.float64)
    off = x + 0.5 * ((x - 0.5) @ w + b)  # the answer of half the parameters; x_hat cancels against the other
    np.testing.assert_allclose(logged["distance"], np.mean(off**2), rtol=100 * ULP)
    np.testing.assert_allclose(logged["generator"], 2 * np.mean(off**2), rtol=100 * ULP)


def test_a_discriminator_that_does_not_see_the_observation(key):
    params, _, obs, x = case(key, inputs=2)
    blind = method(sees=False)
    lifted = obs.with_cond(image=obs.y)
    said = blind.rival.judge(params["discriminator"], x, lifted)
    np.testing.assert_array_equal(said, blind.rival.judge(params["discriminator"], x, obs.with_cond(image=x)))
    a, c = numbers(params["discriminator"])
    np.testing.assert_allclose(said, ((2 * np.asarray(x) - 1) @ a + c).mean((1, 2, 3)), rtol=100 * ULP)


def test_the_loss_of_a_batch_is_the_mean_over_its_images(key):
    params, state, obs, x = case(key)
    keys = jax.random.split(key, 3)
    one = method(r1=0.5)
    whole = jax.jit(lambda y, x, keys: one.loss(params, state, Observation(y=y), x, keys)[0])
    loss = lambda i: whole(obs.y[i], x[i], keys[i])
    alone = np.mean([loss(slice(k, k + 1)) for k in range(3)])
    np.testing.assert_allclose(loss(slice(0, 3)), alone, rtol=20 * ULP)


def test_with_the_networks_of_the_library(key):
    """Shapes, penalty included, and starting from a regression's run."""
    one = build(adversarial.EXAMPLES[0])
    assert isinstance(one, Method)
    x = jax.random.uniform(key, (2, 8, 8, 3))
    obs = Observation(y=0.9 * x)
    shapes = jax.eval_shape(lambda x: one.init(key, obs, x), x)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    theirs = jax.tree.map(jnp.ones_like, params["generator"])
    adopted = one.adopt(params, theirs)
    assert adopted["discriminator"] is params["discriminator"]
    jax.tree.map(np.testing.assert_array_equal, adopted["generator"], theirs)
    state = TrainState(jnp.asarray(0), params, params, (), key)
    grads = jax.eval_shape(jax.grad(lambda p: one.loss(p, state, obs, x, key)[0]), params)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, grads)
    assert isinstance(one.restorer(params), Restorer)
    assert one.restorer(params).params is params["generator"]
