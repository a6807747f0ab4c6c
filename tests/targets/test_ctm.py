"""Consistency trajectory models: with the exact flow for a step, the exact flow map is a fixed point to rounding."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Heun
from restore_jax.targets.ctm import Ctm
from restore_jax.testing.gaussian import GaussianWorld
from tests.targets.exact import exact_net, flow_map

N = 3000
WAY = Karras(0.05, 2.0)
KEY = jax.random.key(2)


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


@dataclass(frozen=True)
class Flow:
    """The teacher's step without error."""

    world: GaussianWorld

    def __call__(self, key, denoise, x, s, t):
        return self.world.flow(x, s, t)


def supervision(world, net=None, **fields):
    x = world.sample(jax.random.key(1), N)
    state = TrainState(jnp.asarray(0), "params", "ema", (), KEY, {"teacher": "teacher"})
    target = Ctm(**{"schedule": WAY, "n_levels": 6, "step": Heun(), "share": 1.0, **fields})
    return target(KEY, net or exact_net(world), state, Observation(y=x), x), x


def errors(world, said) -> np.ndarray:
    x_s, s = said.inputs
    return np.abs(said.target - flow_map(world, x_s, s, said.cond["until"])).max((1, 2, 3))


@pytest.mark.parametrize("reach", [1, 3, 6])
def test_the_exact_map_is_a_fixed_point_of_an_exact_teacher(world, reach):
    said, _ = supervision(world, step=Flow(world), reach=reach)
    # `answer` divides by 1 - t / s, above 1 / 5 on this grid: some hundred roundings of size 2.
    assert (errors(world, said) < 1e-4).all()


def test_the_solver_s_error_is_what_is_left(world):
    """Heun's: of order 3 a step, over 1 - t / s at the nearest t: of order 2."""
    sizes = []
    for n_levels in (20, 40):
        said, _ = supervision(world, schedule=Karras(0.3, 2.0), n_levels=n_levels)
        kept = np.asarray((said.cond["until"] > 0) & (said.inputs[1] > 0.4))
        sizes.append(np.sqrt((errors(world, said)[kept] ** 2).mean()))
    # Over a finite number of levels, pairs (s, t) of all lengths: the mix moves the slope by a few tenths.
    assert 1.5 < np.log2(sizes[0] / sizes[1]) < 3.2


def test_a_map_that_is_none_is_found(world):
    said, _ = supervision(world, lambda _, x, sigma, obs: world.denoise(x, sigma), step=Flow(world))
    x_s, s = said.inputs
    wide = np.asarray(said.cond["until"] < 0.2 * s)
    own = np.abs(said.target - world.denoise(x_s, s)).max((1, 2, 3))
    assert np.median(own[wide]) > 1e-2


@pytest.mark.parametrize("reach", [1, 2, 6])
def test_levels_are_in_order_and_as_far_as_asked(reach):
    i, between, j = map(np.asarray, Ctm(n_levels=6, reach=reach).indices(jax.random.split(KEY, N)))
    assert (i < between).all()
    assert (between <= j).all()
    assert (between - i).max() == reach
    assert (between == np.minimum(j, i + 1)).all() == (reach == 1)
    assert abs((i == 0).mean() - 1 / 6) < 4 * np.sqrt(5 / 36 / N)
    assert set(np.unique(j[i == 2])) == {3, 4, 5, 6}


def test_teacher_walks_and_average_jumps(world):
    """Who is asked what: the teacher no jump, at levels on the way to u; the average one to t."""
    asked = []

    def net(params, x, sigma, obs):
        asked.append((params, "until" in obs.cond))
        return exact_net(world)(params, x, sigma, obs)

    supervision(world, net, reach=2)
    assert asked.count(("ema", True)) == 1
    assert set(asked) == {("teacher", False), ("ema", True)}
    assert asked.count(("teacher", False)) == 4  # two Heun steps


def test_the_rest_of_the_batch_denoises(world):
    said, x = supervision(world, share=0.25)
    plain = np.asarray(said.inputs[1] == said.cond["until"])
    assert abs(plain.mean() - 0.75) < 4 * np.sqrt(0.25 * 0.75 / N)
    np.testing.assert_array_equal(said.target[plain], x[plain])
    assert (np.asarray(said.cond["until"])[~plain] < np.asarray(said.inputs[1])[~plain]).all()
    np.testing.assert_array_equal(said.weight, np.ones(N))
    noise = (said.inputs[0] - x) / said.inputs[1][:, None, None, None]
    assert abs(float(jnp.std(noise)) - 1) < 4 / np.sqrt(2 * 8 * N)


def test_what_cannot_be_says_so(world):
    x = jnp.zeros((1, 2, 2, 2))
    state = TrainState(jnp.asarray(0), {}, {}, (), KEY)
    with pytest.raises(ValueError, match=r"Ctm needs state\.frozen"):
        Ctm()(KEY, exact_net(world), state, Observation(y=x), x)
    for fields, name in (({"n_levels": 0}, "n_levels"), ({"reach": 19}, "reach"), ({"share": 2.0}, "share")):
        with pytest.raises(ValueError, match=name):
            Ctm(**fields)
