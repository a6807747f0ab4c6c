"""Adversarial losses against closed forms: their values, their slopes, and what the best discriminator says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.methods import rivalry
from restore_jax.methods.rivalry import Hinge, LeastSquares, Relativistic, Rivalry, Vanilla, Wasserstein

EPS = np.finfo(np.float32).eps
ALL = [build(spec) for spec in rivalry.EXAMPLES]
every = pytest.mark.parametrize("one", ALL, ids=lambda one: type(one).__name__)
REAL, FAKE = jnp.asarray([0.3, -1.7, 2.0]), jnp.asarray([-0.4, 0.9, 1.5])


def soft(t):
    return np.log1p(np.exp(t))


def sigmoid(t):
    return 1 / (1 + np.exp(-np.asarray(t, np.float64)))


@every
def test_it_is_a_rivalry_of_scalars(one):
    assert isinstance(one, Rivalry)
    for player in (one.generator, one.discriminator):
        assert player(REAL, FAKE).shape == ()


@every
def test_where_nothing_can_be_told_the_best_common_logit_gives_balanced(one):
    """Over logits equal for both, the discriminator's loss has its least value there, and it is `balanced`."""
    same = jnp.linspace(-3.0, 3.0, 241)
    losses = np.asarray(jax.vmap(lambda c: one.discriminator(c[None], c[None]))(same))
    np.testing.assert_allclose(losses.min(), one.balanced, rtol=10 * EPS, atol=EPS)


def by_hand(one, real, fake):
    """The generator's and the discriminator's losses in numpy."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if isinstance(one, Vanilla):
        return soft(-fake).mean(), soft(-real).mean() + soft(fake).mean()
    if isinstance(one, LeastSquares):
        return ((fake - 1) ** 2).mean() / 2, ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2
    if isinstance(one, Hinge):
        return -fake.mean(), np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
    if isinstance(one, Relativistic):
        d_real, d_fake = real - fake.mean(), fake - real.mean()
        return soft(d_real).mean() + soft(-d_fake).mean(), soft(-d_real).mean() + soft(d_fake).mean()
    assert isinstance(one, Wasserstein)
    return -fake.mean(), fake.mean() - real.mean()


@every
def test_values_by_hand(one):
    found = one.generator(REAL, FAKE), one.discriminator(REAL, FAKE)
    np.testing.assert_allclose(found, by_hand(one, REAL, FAKE), rtol=20 * EPS)


def slopes_by_hand(one):
    """d generator / d fake and d discriminator / d (real, fake), each an array of three."""
    real, fake = np.asarray(REAL, np.float64), np.asarray(FAKE, np.float64)
    third = np.full(3, 1 / 3)
    if isinstance(one, Vanilla):
        return -sigmoid(-fake) / 3, -sigmoid(-real) / 3, sigmoid(fake) / 3
    if isinstance(one, LeastSquares):
        return (fake - 1) / 3, (real - 1) / 3, fake / 3
    if isinstance(one, Hinge):
        return -third, -1.0 * (real < 1) / 3, (fake > -1) / 3
    if isinstance(one, Relativistic):
        # softplus' is the sigmoid; each logit speaks for itself, and for a third of the other side's mean
        s_real, s_fake = sigmoid(-(real - fake.mean())), sigmoid(fake - real.mean())
        of_real, of_fake = -s_real / 3 - s_fake.mean() / 3, s_fake / 3 + s_real.mean() / 3
        g_real, g_fake = sigmoid(real - fake.mean()), sigmoid(-(fake - real.mean()))
        return -g_fake / 3 - g_real.mean() / 3, of_real, of_fake
    return -third, -third, third


@every
def test_slopes_by_hand(one):
    generators = jax.jit(jax.grad(one.generator, argnums=1))(REAL, FAKE)
    discriminators = jax.jit(jax.grad(one.discriminator, argnums=(0, 1)))(REAL, FAKE)
    for found, hand in zip((generators, *discriminators), slopes_by_hand(one), strict=True):
        np.testing.assert_allclose(found, hand, rtol=50 * EPS, atol=EPS)


@every
def test_both_pull_apart_and_the_generator_pulls_back(one):
    """The discriminator lowers its loss by raising real and lowering fake; the generator by raising fake."""
    real, fake = jnp.asarray([0.2, 0.4]), jnp.asarray([0.1, 0.3])
    up, down = jax.grad(one.discriminator, argnums=(0, 1))(real, fake)
    assert (up < 0).all()
    assert (down > 0).all()
    assert (jax.grad(one.generator, argnums=1)(real, fake) < 0).all()


@every
def test_only_differences_of_logits_matter_to_the_relativistic_ones(one):
    moved = one.discriminator(REAL + 3.0, FAKE + 3.0)
    still = one.discriminator(REAL, FAKE)
    if isinstance(one, Relativistic | Wasserstein):
        np.testing.assert_allclose(moved, still, rtol=50 * EPS)  # logits up to 5 are rounded
    else:
        assert abs(moved - still) > 0.1


@pytest.mark.parametrize(
    ("one", "says"),
    [(Vanilla(), lambda p, q: np.log(p / q)), (LeastSquares(), lambda p, q: p / (p + q))],
    ids=["Vanilla", "LeastSquares"],
)
def test_the_best_discriminator_of_known_densities(one, says):
    """Photographs are of a kind with probability p, generated pictures with q: the logit of the kind is in closed form.

    The loss over many logits in those proportions is flat there: 3 of 4 real and 1 of 4 fake logits are of the kind.
    """

    def loss(kind):
        real = jnp.stack([kind, kind, kind, jnp.asarray(0.0)])
        fake = jnp.stack([kind, *3 * [jnp.asarray(0.0)]])
        return one.discriminator(real, fake)

    best = jnp.asarray(says(0.75, 0.25), jnp.float32)
    np.testing.assert_allclose(jax.grad(loss)(best), 0.0, atol=4 * EPS)
    assert loss(best) < min(loss(best + 0.1), loss(best - 0.1))


def test_saturation(key):
    """Where the discriminator is sure that a picture is fake, the non-saturating generator still feels it: slope -1."""
    slope = jax.grad(Vanilla().generator, argnums=1)(jnp.zeros(1), jnp.asarray([-30.0]))
    np.testing.assert_allclose(slope, -1.0, rtol=EPS)
    assert np.isfinite(Vanilla().discriminator(jnp.asarray([-200.0]), jnp.asarray([200.0])))
