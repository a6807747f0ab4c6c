"""A flow map's sampler against the exact flow: where it lands does not depend on how many jumps it takes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation, Sampler, split
from restore_jax.diffusion import flow_map
from restore_jax.diffusion.flow_map import FlowMap
from restore_jax.diffusion.solver import jump
from restore_jax.testing.gaussian import GaussianWorld
from tests.targets.exact import Asked, exact_net
from tests.targets.exact import flow_map as exact

SHAPE = (2, 2, 2)
examples = pytest.mark.parametrize("spec", flow_map.EXAMPLES, ids=str)


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, SHAPE)


def blank(n: int) -> Observation:
    return Observation(y=jnp.zeros((n, *SHAPE)))


def test_the_exact_answer_jumps_where_the_flow_goes(world, key):
    x, s = world.sample(key, 3), jnp.asarray([3.0, 0.4, 0.1])
    for share in (0.0, 0.3, 0.99):
        landed = jump(exact(world, x, s, share * s), x, s, share * s)
        # Pictures of size 1 through two products with the basis: some tens of roundings.
        np.testing.assert_allclose(landed, world.flow(x, s, share * s), atol=3e-5)
    np.testing.assert_allclose(exact(world, x, s, s), world.denoise(x, s), atol=1e-5)
    np.testing.assert_allclose(exact(world, x, s, 0 * s), world.consistency(x, s), atol=1e-5)


@pytest.mark.parametrize("sigmas", [(5.0,), (5.0, 1.0), (5.0, 2.0, 0.5, 0.1)])
@pytest.mark.parametrize("start", ["noise", "image"])
def test_any_number_of_jumps_lands_where_the_flow_does(world, key, sigmas, start):
    obs = blank(3).with_cond(image=jnp.full((3, *SHAPE), 0.3))
    noise = jax.random.normal(key, (3, *SHAPE))
    x = FlowMap(sigmas, start)(key, Asked(exact_net(world), obs), obs.with_cond(noise=noise))
    mean = 0.5 if start == "noise" else 0.3
    np.testing.assert_allclose(x, world.flow(mean + 5.0 * noise, 5.0, 0.0), atol=1e-4)


def test_a_denoiser_in_its_place_does_not_land_there(world, key):
    """Planted: a net that is deaf to `until`."""
    obs, noise = blank(3), jax.random.normal(key, (3, *SHAPE))
    deaf = Asked(lambda _, x, sigma, obs: world.denoise(x, sigma), obs)
    x = FlowMap((5.0, 1.0))(key, deaf, obs.with_cond(noise=noise))
    assert jnp.abs(x - world.flow(0.5 + 5.0 * noise, 5.0, 0.0)).max() > 1e-2


@examples
def test_it_is_a_sampler_and_counts_its_evaluations(world, key, spec):
    sample, asked = build(spec), []

    def net(params, x, sigma, obs):
        asked.append((sigma.tolist(), obs.cond["until"].tolist()))
        return exact_net(world)(params, x, sigma, obs)

    obs = blank(2)
    assert isinstance(sample, Sampler)
    assert sample(key, Asked(net, obs), obs).shape == (2, *SHAPE)
    assert len(asked) == sample.nfe
    levels = np.float32([*sample.sigmas, 0.0]).tolist()
    assert asked == [([s] * 2, [t] * 2) for s, t in itertools.pairwise(levels)]


@examples
def test_a_sample_does_not_know_its_neighbours(world, key, spec):
    keys = split(key, 3)
    together = jax.jit(lambda k: build(spec)(k, Asked(exact_net(world), blank(3)), blank(3)))(keys)
    alone = build(spec)(keys[1:2], Asked(exact_net(world), blank(1)), blank(1))
    np.testing.assert_allclose(together[1:2], alone, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_what_it_cannot_do_it_says(world, key):
    with pytest.raises(ValueError, match=r"core\.Conditional"):
        FlowMap()(key, world.denoise, blank(1))
    for sigmas in ((), (1.0, 2.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"FlowMap\.sigmas"):
            FlowMap(sigmas)
