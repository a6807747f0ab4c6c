"""MeanFlow in the Gaussian world: the exact flow map is the fixed point, on the marginal slope and in the mean over n.

The derivative is linear in the slope it is taken along, and the flow map of this world is affine in x. So what n was
can be averaged out: E[n | x_s] is the slope of the flow, E[x | x_s] the denoiser, and with those two the identity
holds without any noise left in it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.solver import slope
from restore_jax.targets.meanflow import MeanFlow
from restore_jax.testing.gaussian import GaussianWorld
from tests.targets.exact import Few, exact_net, flow_map

N = 20_000


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


def supervision(world, net, **fields):
    x = world.sample(jax.random.key(1), N)
    state = TrainState(jnp.asarray(0), {}, {}, (), jax.random.key(0))
    return MeanFlow(Few(), **fields)(jax.random.key(2), net, state, Observation(y=x), x), x


def z_scores(said, estimate) -> np.ndarray:
    """`E[(target - estimate) g(x_s)]` in standard errors, for each pair (s, t) and several g."""
    (x_s, s), t, scores = said.inputs, said.cond["until"], []
    for pair in np.unique(np.stack([s, t], axis=1), axis=0):
        here = np.asarray((s == pair[0]) & (t == pair[1]))
        for g in (jnp.ones_like(x_s), x_s - 0.5, jnp.sin(5 * x_s), jnp.abs(x_s - 0.5)):
            each = np.asarray(((said.target - estimate) * g).mean((1, 2, 3)), np.float64)[here]
            scores.append(each.mean() / each.std() * np.sqrt(here.sum()))
    return np.abs(scores)


@pytest.mark.parametrize(("s", "t"), [(0.8, 0.3), (0.3, 0.1), (3.0, 0.0), (0.4, 0.4)])
def test_the_identity_holds_along_the_flow(world, key, s, t):
    """Exactly, and for any sigma_data: flow time is a way to write the jump, not a property of the pictures."""
    x_s, s, t = world.sample(key, 4), jnp.full(4, s), jnp.full(4, t)
    for d in (0.1, 0.25, 1.0):
        target = MeanFlow(sigma_data=d)
        x, direction = world.denoise(x_s, s), slope(world.denoise, x_s, s)
        g, answer = target.answer(lambda x, s: flow_map(world, x, s, t), x, direction, s, t)
        # x_s is put together again from x and s slope; the factors reach 10 s / d: some hundred roundings of size 1.
        np.testing.assert_allclose(answer, g, atol=3e-4 if s[0] > 1 else 3e-5)
        np.testing.assert_allclose(g, flow_map(world, x_s, s, t), atol=1e-5)


def test_the_exact_map_is_the_mean_answer(world):
    net = exact_net(world)
    said, _ = supervision(world, net, share=0.5)
    x_s, s = said.inputs
    assert len(np.unique(np.stack([s, said.cond["until"]]), axis=1).T) == 6  # three levels, three falling pairs
    # 24 scores: the largest of so many standard normals is above 4 once in 600 draws.
    assert (z_scores(said, flow_map(world, x_s, s, said.cond["until"])) < 4).all()


@pytest.mark.parametrize("bug", ["consistency", "denoiser", "sign"])
def test_another_map_is_found(world, bug):
    """Planted: maps that are no fixed points, and the derivative with the wrong sign."""
    nets = {
        "consistency": lambda _, x, sigma, obs: world.consistency(x, sigma),
        "denoiser": lambda _, x, sigma, obs: world.denoise(x, sigma),
        "sign": exact_net(world),
    }
    said, x = supervision(world, nets[bug], share=0.5)
    if bug == "sign":
        x_s, s = said.inputs
        t, d = said.cond["until"], 0.25
        first = x + (d * (s - t) / (s * (t + d)))[:, None, None, None] * (flow_map(world, x_s, s, t) - x)
        said = said.replace(target=2 * first - said.target)
    said_by_itself = nets[bug]({}, *said.inputs, Observation(y=x).with_cond(**said.cond))
    assert z_scores(said, said_by_itself).max() > 8


def test_share_is_of_the_examples_that_jump_and_the_others_denoise(world):
    for share in (0.0, 0.5, 1.0):
        said, x = supervision(world, exact_net(world), share=share)
        s, t = np.asarray(said.inputs[1]), np.asarray(said.cond["until"])
        assert (t <= s).all()
        jumps = t < s  # a pair of draws from three levels is of the same level once in three
        assert abs(jumps.mean() - share * 2 / 3) < 4 * np.sqrt(0.25 / N)
        np.testing.assert_array_equal(said.target[~jumps], x[~jumps])


def test_the_weight_is_the_adaptive_one(world):
    """Of the error of the velocity u = (z - g / d) / tau, in numpy, in flow time."""
    net = exact_net(world)
    for p in (0.0, 0.5, 1.0):
        said, x = supervision(world, net, share=0.5, p=p, sigma_data=0.4)
        x_s, s = said.inputs
        tau = np.asarray(s / (s + 0.4))
        g = net({}, x_s, s, Observation(y=x).with_cond(**said.cond))
        error = np.asarray(((g - said.target) ** 2).mean((1, 2, 3))) / (0.4 * tau) ** 2
        # p = 1 divides by errors down to 1e-3, differences of answers of size 1 squared: their roundings, over 1e-3.
        np.testing.assert_allclose(said.weight, 1 / (0.4 * tau) ** 2 / (error + 1e-3) ** p, rtol=2e-3)


def test_what_cannot_be_says_so():
    for fields, name in (({"sigma_data": 0.0}, "sigma_data"), ({"share": 1.5}, "share"), ({"p": -1.0}, r"\.p ")):
        with pytest.raises(ValueError, match=name):
            MeanFlow(**fields)
