"""DDRM: the law of its noise where the truth is known, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.linear import Convolution, Identity, PaddedConvolution, Scale, Separable
from restore_jax.degrade.mask import Mask
from restore_jax.degrade.raw import BayerMosaic
from restore_jax.diffusion.posterior.ddrm import Ddrm
from restore_jax.diffusion.sampler import Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler
from restore_jax.testing.gaussian import GaussianWorld

N = 20_000
# |k| is 1 or 0.2 along the columns times 1 or 0 along the rows: noise_std / |k| is 0.3 or 1.5, or nothing is seen.
KERNEL = jnp.asarray([[0.2, 0.2], [0.2, 0.2], [0.1, 0.1]])


def standard_errors(operator, eta=0.6, eta_b=0.7, t=0.5, step=Ddrm):
    """How far moves from `N(x, 1)` end from `N(x, t^2)` at the worst, in standard errors, if D answers the truth x."""
    x = jax.random.uniform(jax.random.key(1), operator.in_shape)

    def move(key):
        key_y, key_x, key_step = jax.random.split(key, 3)
        image = operator(x)
        obs = Observation(image + 0.3 * jax.random.normal(key_y, image.shape), operator, 0.3)
        x_s = x + jax.random.normal(key_x, x.shape)
        return step(eta, eta_b).under(obs)(key_step, lambda x_t, sigma: x, x_s, jnp.ones(()), jnp.asarray(t))

    x_t = np.asarray(jax.jit(jax.vmap(move))(jax.random.split(jax.random.key(2), N)), np.float64)
    z = (x_t - np.asarray(x)[None]).reshape(N, -1) / t
    error = np.sqrt((1 + np.eye(z.shape[1])) / N)  # of a product of two standard normals, and of a square
    return max(np.abs(z.mean(0)).max() * np.sqrt(N), np.abs((z.T @ z / N - np.eye(z.shape[1])) / error).max())


@pytest.mark.parametrize(
    "operator",
    [
        # noise_std / S is 1.2 (above t), 0.4 and 0.15 (below), and nothing is known of the last.
        Scale(in_shape=(1, 1, 4), gain=jnp.asarray([0.25, 0.75, -2.0, 0.0]).reshape(1, 1, 4)),
        Convolution(in_shape=(3, 2, 1), kernel=KERNEL),
    ],
    ids=["scale", "convolution"],
)
def test_noise_has_the_level_whatever_y_tells(operator):
    """The paper's proposition 3.1. 6 means and 21 second moments: 4.5 standard errors are passed once in 5,000."""
    assert standard_errors(operator) < 4.5


def test_a_wrong_share_of_noise_is_found():
    """A planted bug: y is mixed in by another share than its noise is accounted for."""

    class Wrong(Ddrm):
        def under(self, obs):
            return Ddrm(self.eta, 0.9 * self.eta_b).under(obs.replace(noise_std=1.2 * obs.noise_std))

    operator = Scale(in_shape=(1, 1, 4), gain=jnp.asarray([0.25, 0.75, -2.0, 0.0]).reshape(1, 1, 4))
    assert standard_errors(operator, step=Wrong) > 6


ROWS = jnp.asarray(np.kron(np.eye(2), [[0.25, 0.75]]), jnp.float32)  # 2 x 4


@pytest.mark.parametrize(
    "operator",
    [
        Separable(in_shape=(4, 4, 3), rows=ROWS, cols=ROWS),
        Mask(in_shape=(4, 4, 3), mask=jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 4, 1)), jnp.float32)),
        BayerMosaic(in_shape=(4, 4, 3)),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_without_noise_it_ends_at_what_was_seen(key, operator):
    """Rounding of two rotations of 16 terms, and of the pseudo-inverse, whose condition number is 2.5: 1e-5."""
    world = GaussianWorld.draw(key, operator.in_shape)
    y = operator(world.sample(key, 1)[0])
    sample = Ode(Ddrm(), Karras(0.01, 20.0), 4)
    x = jax.jit(lambda key: sample(key, world.denoise, Observation(y, operator)))(key)
    np.testing.assert_allclose(operator(x), y, rtol=0, atol=1e-5)


def test_a_batch_of_observations_without_leaves(key):
    """The mosaic has nothing to map over: its singular vectors are those of every picture."""
    operator = BayerMosaic(in_shape=(4, 4, 3))
    x = jax.random.uniform(key, (2, 4, 4, 3))
    obs = Observation(jax.vmap(operator)(x), operator)
    moved = Ddrm().under(obs)(key, lambda x_t, sigma: 0 * x_t, x, jnp.ones(()), jnp.zeros(()))
    np.testing.assert_allclose(moved, jax.vmap(lambda x: operator.adjoint(operator(x)))(x), rtol=0, atol=1e-6)


def test_what_nothing_is_known_of_follows_the_flow(key):
    """With eta = 0, `v + t (x - v) / s` is Euler's step; a few roundings of numbers up to 3."""
    world = GaussianWorld.draw(key, (2, 2, 2))
    blind = Mask(in_shape=(2, 2, 2), mask=jnp.zeros((2, 2, 1)))
    x, s, t = world.sample(key, 1)[0], jnp.asarray(0.5), jnp.asarray(0.2)
    step = Ddrm(eta=0.0).under(Observation(jnp.zeros((2, 2, 2)), blind, 0.1))
    np.testing.assert_allclose(step(key, world.denoise, x, s, t), Euler()(key, world.denoise, x, s, t), atol=1e-5)


def test_noise_that_drowns_y_leaves_the_denoisers_answer(key):
    """At level 0 below any noise, the move is D itself."""
    world = GaussianWorld.draw(key, (2, 2, 2))
    x = world.sample(key, 3)
    obs = Observation(x, jax.vmap(lambda gain: Scale(in_shape=(2, 2, 2), gain=gain))(jnp.ones(3)), jnp.full(3, 0.1))
    s = jnp.asarray([0.5, 0.2, 0.1])  # a level an image
    moved = Ddrm().under(obs)(key, world.denoise, x, s, jnp.zeros(3))
    np.testing.assert_allclose(moved, world.denoise(x, s), rtol=0, atol=1e-6)


def test_bad_input_is_named():
    picture = jnp.zeros((4, 4, 1))
    padded = PaddedConvolution(in_shape=(4, 4, 1), kernel=jnp.ones((3, 3)) / 9)
    with pytest.raises(ValueError, match=r"Ddrm needs the spectrum\(\).*PaddedConvolution has no svd\(\)"):
        Ddrm().under(Observation(picture, padded))
    with pytest.raises(ValueError, match="Ddrm needs the linear operator"):
        Ddrm().under(Observation(picture))
    with pytest.raises(ValueError, match="Ddrm takes noise of one size"):
        Ddrm().under(Observation(picture, Identity(in_shape=(4, 4, 1)), jnp.full((4, 4, 1), 0.1)))
    for name in ("eta", "eta_b"):
        with pytest.raises(ValueError, match=rf"Ddrm.{name} is a share in \[0, 1\], not 1.5"):
            Ddrm(**{name: 1.5})
