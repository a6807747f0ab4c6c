"""What a batch was observed through, against each picture's own operator and against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, Operator, pinv
from restore_jax.degrade.blur import GaussianBlur
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.mask import RandomPixels
from restore_jax.diffusion.posterior.measurement import Measurement, isotropic_variance
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (4, 4, 1)
EPS = np.finfo(np.float64).eps


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def x(key):
    return jax.random.normal(key, (3, *SHAPE))


def observed(degrade, x, noise_std=None):
    obs = jax.vmap(degrade)(jax.random.split(jax.random.key(1), len(x)), x)
    return obs.replace(noise_std=noise_std)


def at(obs, i):
    return jax.tree.map(lambda leaf: leaf[i], obs)


@pytest.mark.parametrize("degrade", [RandomPixels(0.5), GaussianBlur((0.4, 0.8))], ids=["mask", "blur"])
def test_each_picture_has_its_own_operator(degrade, x):
    obs = observed(degrade, x, noise_std=jnp.asarray([0.1, 0.2, 0.3]))
    batch = Measurement.of(obs, "Me")
    assert batch.batch_axes == 1
    reg = jnp.asarray([0.1, 0.2, 0.3])
    for i in range(3):
        one, a = Measurement.of(at(obs, i), "Me"), at(obs, i).operator
        assert one.batch_axes == 0
        assert one.noise_std == batch.noise_std[i]
        for together, alone, exact in (
            (batch.forward(x), one.forward(x[i]), a(x[i])),
            (batch.adjoint(x), one.adjoint(x[i]), a.adjoint(x[i])),
            (batch.solve(x, reg), one.solve(x[i], reg[i]), a.solve(x[i], reg[i])),
            (batch.pinv(obs.y), one.pinv(obs.y[i]), pinv(a, obs.y[i])),
        ):
            # The blur's smallest singular value is above 0.01: the inverse magnifies roundings 1e4 times.
            np.testing.assert_allclose(together[i], exact, atol=1e6 * EPS)
            np.testing.assert_allclose(alone, exact, atol=1e6 * EPS)


def test_noise_is_one_number_one_an_image_or_one_a_number_of_y(x):
    sizes = [  # as a degradation under vmap gives it, and what a sampler for any noise makes of it
        (None, ()),
        (jnp.asarray(0.1), ()),
        (jnp.full(3, 0.1), (3,)),
        (jnp.full((3, 1, 1, 1), 0.1), (3,)),
        (jnp.full((3, *SHAPE), 0.1), (3, *SHAPE)),
        (jnp.full((3, 4, 1), 0.1), (3, 1, 4, 1)),
    ]
    for noise_std, shape in sizes:
        assert Measurement.of(observed(RandomPixels(), x, noise_std), "Me", white=False).noise_std.shape == shape
    relative = Measurement.of(observed(RandomPixels(), x, sizes[4][0]), "Me", white=False)
    np.testing.assert_allclose(relative.relative_noise(jnp.asarray([1.0, 4.0, 1.0]))[:, 0, 0, 0], [0.01, 0.0025, 0.01])
    per_image = Measurement.of(observed(RandomPixels(), x, sizes[2][0]), "Me")
    np.testing.assert_allclose(per_image.relative_noise(jnp.asarray(0.1)), np.full(3, 0.1))


def test_noise_of_many_sizes_solves_the_dense_system(x):
    """`(A A^T + diag(reg))^-1 r`; conjugate gradients stop at a relative residual of 1e-6."""
    obs = observed(Downsample(2, "cubic"), x)
    r = obs.y
    reg = jnp.linspace(0.1, 1.0, r.size).reshape(r.shape)
    solved = Measurement.of(obs, "Me").solve(r, reg)
    for i in range(3):
        a = jax.jacobian(at(obs, i).operator)(x[i]).reshape(4, 16)
        exact = np.linalg.solve(a @ a.T + np.diag(reg[i].ravel()), np.asarray(r[i]).ravel())
        np.testing.assert_allclose(solved[i].ravel(), exact, atol=1e-5 * np.abs(r).max())


def test_isotropic_variance_is_that_of_the_posterior(key):
    """A world of deviation 0.3, and y = x + sigma n: the identity for an operator."""
    world = GaussianWorld(jnp.zeros(SHAPE), jnp.eye(16), jnp.full(16, 0.09))
    direct = GaussianBlur(0.0)(key, jnp.zeros(SHAPE)).operator
    for sigma in (0.01, 0.3, 10.0):
        _, covariance = world.posterior(direct, jnp.zeros(SHAPE), sigma)
        variance = isotropic_variance(jnp.asarray(sigma), 0.3)
        np.testing.assert_allclose(np.diag(covariance), np.full(16, variance), rtol=1e-9)
    assert 0 < isotropic_variance(jnp.float32(0.0), 0.3) < 1e-11  # one divides by it, in single precision too


def test_what_is_missing_is_named(x):
    class Blind(Operator):
        """An operator without a singular value decomposition."""

    obs = observed(RandomPixels(), x)
    with pytest.raises(ValueError, match="Me needs the linear operator"):
        Measurement.of(obs.replace(operator=None), "Me")
    with pytest.raises(ValueError, match=r"Me takes noise of one size.*\(3, 4, 4, 1\)"):
        Measurement.of(obs.replace(noise_std=jnp.ones(x.shape)), "Me")
    with pytest.raises(ValueError, match=r"Me needs the spectrum\(\).*Blind has no svd\(\)"):
        Measurement.of(Observation(y=x[0], operator=Blind(in_shape=SHAPE)), "Me", spectral=True)
