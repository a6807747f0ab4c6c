"""A generator of a few numbers and its parts of the loss, each by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Method, Observation, Restorer, TrainState
from restore_jax.diffusion.precondition import Residual
from restore_jax.diffusion.sampler import Consistency
from restore_jax.methods import gan
from restore_jax.methods.gan import Gan, Term, artifact_map
from restore_jax.methods.rival import Rival
from restore_jax.methods.rivalry import Relativistic
from restore_jax.methods.view import View
from restore_jax.metrics.pixel import Charbonnier, Mse
from tests.methods.test_adversarial import SHAPE, Corrected, Dense, case, numbers

ULP = np.finfo(np.float32).eps
TERMS = (Term(Mse(), 2.0), Term(Charbonnier(0.1), 0.5))


def method(weight=0.3, losses=TERMS, **fields) -> Gan:
    rival = Rival(Dense(1), Relativistic(), weight)
    return Gan(Corrected(), Residual(), rival, Consistency((0.0,), "image"), losses, **fields)


def by_hand(params, obs, x):
    """x_hat and the logits of x and of x_hat, in numpy."""
    w, b = numbers(params["generator"])
    a, c = numbers(params["discriminator"])
    y, x = np.asarray(obs.y, np.float64), np.asarray(x, np.float64)
    x_hat = y + (y - 0.5) @ w + b
    judge = lambda p: np.concatenate([2 * p - 1, 2 * y - 1], -1) @ a + c
    return x_hat, judge(x), judge(x_hat)


def test_the_loss_by_hand(key):
    params, state, obs, x = case(key)
    average = jax.tree.map(lambda leaf: 0.5 * leaf, params)
    loss, logged = jax.jit(method(artifacts=4.0, window=3).loss)(params, state.replace(ema=average), obs, x, key)
    x_hat, real, fake = by_hand(params, obs, x)
    of_average, *_ = by_hand(average, obs, x)
    e = x_hat - np.asarray(x, np.float64)
    soft = lambda t: np.log1p(np.exp(t)).mean()
    mse, charbonnier = np.mean(e**2), np.mean(np.sqrt(e**2 + 0.01) - 0.1)
    opinion = soft(real - fake.mean()) + soft(real.mean() - fake)
    discriminator = soft(fake.mean() - real) + soft(fake - real.mean())
    single = lambda a: jnp.asarray(a, jnp.float32)
    dirt = np.mean(np.asarray(artifact_map(single(x_hat), single(of_average), x, 3)) * np.abs(e))
    for name, value in (("mse", mse), ("charbonnier", charbonnier), ("adversarial", opinion), ("artifacts", dirt)):
        np.testing.assert_allclose(logged[name], value, rtol=500 * ULP, err_msg=name)
    generator = 2 * mse + 0.5 * charbonnier + 0.3 * opinion + 4 * dirt
    np.testing.assert_allclose(logged["generator"], generator, rtol=500 * ULP)
    np.testing.assert_allclose(loss, generator + discriminator, rtol=500 * ULP)
    assert dirt > 0


def test_each_player_has_its_own_gradient(key):
    """With no weight on the rival the generator's gradient is the metrics' alone; the discriminator's does not move."""
    params, state, obs, x = case(key)
    slope = lambda one: jax.jit(jax.grad(lambda p: one.loss(p, state, obs, x, key)[0]))(params)
    rivals, alone = slope(method()), slope(method(weight=0.0))
    for a, b in zip(*map(jax.tree.leaves, (rivals["discriminator"], alone["discriminator"])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    metrics = lambda p: sum(
        t.weight * jnp.mean(t.metric(obs.y + (obs.y - 0.5) @ p["kernel"] + p["bias"].reshape(1, 1, 1, -1), x))
        for t in TERMS
    )
    kernel = jax.jit(jax.grad(metrics))(params["generator"]["Dense_0"])["kernel"]
    np.testing.assert_allclose(alone["generator"]["Dense_0"]["kernel"], kernel, rtol=1e-4, atol=1e-6)
    assert np.abs(rivals["generator"]["Dense_0"]["kernel"] - kernel).max() > 1e-3


class EvenRows:
    """A metric with a stride of two: what it sees depends on where it looks from."""

    def __call__(self, x_hat, x):
        return Mse()(x_hat[:, ::2], x[:, ::2])


def test_a_view_moves_what_is_judged_and_changes_no_pixel(key):
    """The rival here judges a pixel with its condition, so that a place that all are not moved to alike would tell."""
    params, state, obs, x = case(key)
    logged = lambda one: jax.jit(one.loss)(params, state, obs, x, key)[1]
    plain, viewed = logged(method()), logged(method(view=View()))
    for name in plain:
        np.testing.assert_allclose(viewed[name], plain[name], rtol=500 * ULP, atol=ULP, err_msg=name)
    strided = (Term(EvenRows()),)
    plain, viewed = (logged(method(losses=strided, view=view))["evenrows"] for view in (None, View()))
    assert abs(plain - viewed) > 0.01 * plain


class TestArtifacts:
    def test_the_map_is_numpy_s(self, key):
        x, x_hat, average = (np.asarray(p, np.float64) for p in jax.random.uniform(key, (3, 2, 6, 5, 3)))
        found = jax.jit(artifact_map, static_argnames="window")(
            *(jnp.asarray(p, jnp.float32) for p in (x_hat, average, x)), window=3
        )
        r, r_average = (np.abs(x - p).sum(-1) for p in (x_hat, average))
        wide = np.pad(r, [(0, 0), (1, 1), (1, 1)], mode="symmetric")
        for b, i, j in np.ndindex(r.shape):
            local = wide[b, i : i + 3, j : j + 3].var(ddof=1)
            expected = r[b].var(ddof=1) ** 0.2 * local if r[b, i, j] >= r_average[b, i, j] else 0.0
            np.testing.assert_allclose(found[b, i, j, 0], expected, rtol=1e-4, atol=1e-6)

    def test_an_even_error_is_no_artifact(self, key):
        x = jax.random.uniform(key, SHAPE)
        np.testing.assert_allclose(artifact_map(x + 0.2, x, x, 3), 0.0, atol=1e-6)

    def test_where_the_average_errs_more_there_is_none(self, key):
        x = jax.random.uniform(key, SHAPE)
        worse = x + 2.0
        assert (artifact_map(x + 0.1 * x, worse, x, 3) == 0).all()

    def test_it_is_a_constant_to_gradients(self, key):
        x = jax.random.uniform(key, SHAPE)
        slope = jax.grad(lambda p: jnp.sum(artifact_map(p, x, x, 3)))(1.3 * x)
        assert (slope == 0).all()


def test_with_the_networks_of_the_library(key):
    one = build(gan.EXAMPLES[0])
    assert isinstance(one, Method)
    x = jax.random.uniform(key, (2, 8, 8, 3))
    obs = Observation(y=0.9 * x)
    shapes = jax.eval_shape(lambda x: one.init(key, obs, x), x)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    state = TrainState(jnp.asarray(0), params, params, (), key)
    grads = jax.eval_shape(jax.grad(lambda p: one.loss(p, state, obs, x, key)[0]), params)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, grads)
    restorer = one.restorer(params)
    assert isinstance(restorer, Restorer)
    assert restorer.params is params["generator"]
    theirs = jax.tree.map(jnp.ones_like, params["generator"])
    jax.tree.map(np.testing.assert_array_equal, one.adopt(params, theirs)["generator"], theirs)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"losses": ()}, "Gan.losses must name at least one metric"),
        ({"artifacts": -1.0}, "Gan.artifacts must be 0 or above, not -1"),
        ({"window": 4}, "Gan.window must be an odd number from 3, not 4"),
    ],
)
def test_mistakes_are_named(fields, says):
    with pytest.raises(ValueError, match=says):
        method(**fields)
    with pytest.raises(ValueError, match=r"Term\.weight must be 0 or above, not -2"):
        Term(Mse(), -2.0)
