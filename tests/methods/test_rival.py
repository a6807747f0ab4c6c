"""A discriminator of a few numbers against a generator's picture: penalties and logs in closed form."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import SpecError, build
from restore_jax.core import Observation
from restore_jax.methods import rival
from restore_jax.methods.rival import Rival, adopt_players
from restore_jax.methods.rivalry import Relativistic, Wasserstein

ULP = np.finfo(np.float32).eps
SHAPE = (2, 3, 4, 1)
PIXELS = 12


class Linear(nn.Module):
    """The logit `a p` of each pixel p."""

    @nn.compact
    def __call__(self, x, cond=None):
        return self.param("a", nn.initializers.ones, ()) * x


class Square(Linear):
    """The logit `a p^2` of each pixel p."""

    @nn.compact
    def __call__(self, x, cond=None):
        return self.param("a", nn.initializers.ones, ()) * x**2


class Two(nn.Module):
    """Two maps: all pixels, and twice the first row of them."""

    @nn.compact
    def __call__(self, x, cond=None):
        a = self.param("a", nn.initializers.ones, ())
        return a * x, 2 * a * x[:, :1]


def case(key):
    x, x_hat = jax.random.uniform(key, (2, *SHAPE))
    return jnp.asarray(x), 0.5 * jnp.asarray(x_hat), Observation(y=x, cond={"image": x})


def test_penalties_at_photographs_and_at_generated_pictures(key):
    """J = a mean (2 x - 1)^2: its slope at a pixel is 4 a (2 x - 1) / n."""
    x, x_hat, obs = case(key)
    disc = {"a": jnp.asarray(1.5)}
    fields = {"r1": 3.0, "r2": 5.0}
    contest = jax.jit(Rival(Square(), **fields, sees=False).contest)(disc, x, x_hat, obs, key)
    squared = lambda x: np.mean(np.sum((6 * (2 * np.asarray(x, np.float64) - 1) / PIXELS) ** 2, (1, 2, 3)))
    np.testing.assert_allclose(contest.logged["penalty"], 1.5 * squared(x) + 2.5 * squared(x_hat), rtol=50 * ULP)
    total = contest.logged["discriminator"] + contest.logged["penalty"]
    np.testing.assert_allclose(contest.discriminator, total, rtol=ULP)


def test_the_penalty_between_is_0_where_the_slope_has_length_1(key):
    """J = a mean(2 p - 1) has slope 2 a / n everywhere, of length 2 a / sqrt(n)."""
    x, x_hat, obs = case(key)
    one = Rival(Linear(), Wasserstein(), interpolates=10.0, sees=False)
    penalty = jax.jit(lambda a: one.contest({"a": a}, x, x_hat, obs, key).logged["penalty"])
    np.testing.assert_allclose(penalty(jnp.asarray(np.sqrt(PIXELS) / 2, jnp.float32)), 0.0, atol=1e-10)
    np.testing.assert_allclose(penalty(jnp.asarray(np.sqrt(PIXELS), jnp.float32)), 10.0, rtol=50 * ULP)
    assert np.isfinite(jax.grad(penalty)(jnp.asarray(0.0)))


def test_the_points_between_are_between_and_drawn_an_image_at_a_time(key):
    """With J = mean p^2 on pictures of one grey each, the slope tells where it was taken."""
    x, x_hat = jnp.full(SHAPE, 0.9), jnp.full(SHAPE, 0.6)
    obs = Observation(y=x, cond={"image": x})
    keys = jax.random.split(key, 2)
    one = Rival(Square(), Wasserstein(), interpolates=1.0, sees=False)

    def where(x, x_hat, keys):  # |dJ/dx| = 4 (2 p - 1) / sqrt(n), minus 1 and squared
        said = one.contest({"a": jnp.asarray(1.0)}, x, x_hat, obs, keys).logged["penalty"]
        return ((1 - np.sqrt(said)) * np.sqrt(PIXELS) / 4 + 1) / 2

    alone = [float(where(x[i : i + 1], x_hat[i : i + 1], keys[i : i + 1])) for i in range(2)]
    assert all(0.6 < p < 0.9 for p in alone)
    assert abs(alone[0] - alone[1]) > 1e-3


def test_maps_weigh_alike_whatever_their_size(key):
    x, x_hat, obs = case(key)
    disc = {"a": jnp.asarray(1.0)}
    one = Rival(Two(), Wasserstein(), weight=0.5, sees=False)
    contest = one.contest(disc, x, x_hat, obs, key)
    shown = lambda p: 2 * np.asarray(p, np.float64) - 1
    both = lambda p: (shown(p).mean() + 2 * shown(p)[:, :1].mean()) / 2
    np.testing.assert_allclose(contest.generator, -0.5 * both(x_hat), rtol=50 * ULP, atol=ULP)
    np.testing.assert_allclose(contest.discriminator, both(x_hat) - both(x), rtol=50 * ULP)
    np.testing.assert_allclose(jnp.mean(one.judge(disc, x, obs)), both(x), rtol=50 * ULP)


def test_what_is_logged(key):
    x, x_hat, obs = case(key)
    logged = Rival(Linear(), sees=False).contest({"a": jnp.asarray(0.0)}, x, x_hat, obs, key).logged
    assert "penalty" not in logged
    assert logged["balance"] == 1.0  # no opinion
    assert logged["told_apart"] == 0.0
    variance = lambda p: np.asarray(p, np.float64).var((1, 2)).mean()
    np.testing.assert_allclose(logged["spread"], variance(x_hat) / variance(x), rtol=50 * ULP)
    assert "balance" not in Rival(Linear(), Wasserstein()).contest({"a": jnp.asarray(0.0)}, x, x_hat, obs, key).logged


@pytest.mark.parametrize("rivalry", [Relativistic(), Wasserstein()], ids=lambda one: type(one).__name__)
def test_no_gradient_of_one_s_loss_reaches_the_other(rivalry, key):
    x, x_hat, obs = case(key)
    one = Rival(Linear(), rivalry, r2=1.0, interpolates=1.0, sees=False)

    @jax.jit
    def slopes(disc, x_hat):
        players = lambda disc, x_hat: one.contest(disc, x, x_hat, obs, key)[:2]
        return jax.jacrev(players, argnums=(0, 1))(disc, x_hat)

    (of_disc, of_picture), (discs, pictures) = slopes({"a": jnp.asarray(0.7)}, x_hat)
    assert of_disc["a"] == 0
    assert np.abs(of_picture).min() > 0
    assert discs["a"] != 0
    assert np.abs(pictures).max() == 0


def test_starts():
    fresh = {"generator": {"w": jnp.zeros(2)}, "discriminator": {"v": jnp.zeros(3)}}
    from_regression = adopt_players(fresh, {"w": jnp.ones(2)})
    assert from_regression["discriminator"] is fresh["discriminator"]
    np.testing.assert_array_equal(from_regression["generator"]["w"], 1)
    from_players = adopt_players(fresh, jax.tree.map(jnp.ones_like, fresh))
    np.testing.assert_array_equal(from_players["discriminator"]["v"], 1)
    with pytest.raises(SpecError, match="generator/w has shape"):
        adopt_players(fresh, {"w": jnp.ones(3)})


@pytest.mark.parametrize("field", ["weight", "r1", "r2", "interpolates"])
def test_mistakes_are_named(field):
    with pytest.raises(ValueError, match=f"Rival.{field} must be 0 or above, not -1"):
        Rival(Linear(), **{field: -1.0})


def test_an_example_is_built():
    assert isinstance(build(rival.EXAMPLES[0]), Rival)
