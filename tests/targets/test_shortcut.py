"""Shortcut models: a map whose jumps compose is a fixed point, up to Euler's error at the smallest step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState
from restore_jax.targets.shortcut import Shortcut
from restore_jax.testing.gaussian import GaussianWorld
from tests.targets.exact import Few, exact_net, flow_map

N = 4000
STATE = TrainState(jnp.asarray(0), "params", "ema", (), jax.random.key(0))


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, (2, 2, 2))


def supervision(world, net, **fields):
    """Jumps from sigma_max = 0.75: tau_max is 3/4 for sigma_data = 1/4."""
    x = world.sample(jax.random.key(1), N)
    target = Shortcut(Few(), **{"n_steps": 8, "share": 1.0, "sigma_max": 0.75, **fields})
    return target(jax.random.key(2), net, STATE, Observation(y=x), x), x


def tau(sigma) -> np.ndarray:
    sigma = np.asarray(sigma, np.float64)
    return sigma / (sigma + 0.25)


def test_the_exact_map_is_a_fixed_point_but_for_the_smallest_step(world):
    said, _ = supervision(world, exact_net(world))
    (x_s, s), t = said.inputs, said.cond["until"]
    error = np.abs(said.target - flow_map(world, x_s, s, t)).max((1, 2, 3))
    smallest = tau(s) - tau(t) < 0.75 / 4 * 1.5
    # Two jumps and an `answer`, which divides by 1 - t / s > 1 / 5: some hundred roundings.
    assert (error[~smallest] < 1e-4).all()
    assert np.median(error[smallest]) > 1e-3  # Euler's, whatever the map


def test_the_error_of_the_smallest_step_falls_with_its_size(world):
    """Of the answer, an error of order 2 in a step over a step: order 1."""
    errors = []
    for n_steps in (32, 64):
        said, _ = supervision(world, exact_net(world), n_steps=n_steps)
        (x_s, s), t = said.inputs, said.cond["until"]
        # The same stretch of the way for both, one of n_steps / 2 jumps long.
        smallest = (tau(s) - tau(t) < 0.75 / n_steps * 2.5) & (tau(s) > 0.3)
        error = np.asarray(said.target - flow_map(world, x_s, s, t), np.float64)[smallest]
        errors.append(np.sqrt((error**2).mean()))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.25


def test_jumps_are_what_sampling_takes(world):
    """Sizes tau_max / 2^k, each as often, from multiples of the size; and half of them asked of the average."""
    asked = []

    def net(params, x, sigma, obs):
        asked.append(params)
        return exact_net(world)(params, x, sigma, obs)

    said, _ = supervision(world, net)
    assert asked == ["ema", "ema"]
    s, t = tau(said.inputs[1]) / 0.75, tau(said.cond["until"]) / 0.75
    for size in (1.0, 0.5, 0.25):
        mine = np.isclose(s - t, size, rtol=1e-4)
        assert abs(mine.mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / N)
        starts, counts = np.unique(np.round(s[mine] / size, 3), return_counts=True)
        np.testing.assert_array_equal(starts, np.arange(1, 1 / size + 1))
        assert counts.min() > 0.8 * counts.max()


def test_a_map_that_does_not_compose_is_found(world):
    """Planted: the consistency function, and the denoiser, whatever is asked."""
    for function in (world.consistency, world.denoise):
        said, _ = supervision(world, lambda _, x, sigma, obs, function=function: function(x, sigma))
        wide = tau(said.inputs[1]) - tau(said.cond["until"]) > 0.3
        error = np.abs(said.target - function(*said.inputs)).max((1, 2, 3))
        assert np.median(error[wide]) > 1e-2


def test_the_rest_of_the_batch_is_flow_matching(world):
    said, x = supervision(world, exact_net(world), share=0.25)
    plain = np.asarray(said.inputs[1] == said.cond["until"])
    assert abs(plain.mean() - 0.75) < 4 * np.sqrt(0.25 * 0.75 / N)
    np.testing.assert_array_equal(said.target[plain], x[plain])
    assert set(np.unique(np.asarray(said.inputs[1])[plain])) == {np.float32(level) for level in Few().levels}
    noise = (said.inputs[0] - x) / said.inputs[1][:, None, None, None]
    assert abs(float(jnp.std(noise)) - 1) < 4 / np.sqrt(2 * 8 * N)
    np.testing.assert_allclose(said.weight, 1 / (0.25 * tau(said.inputs[1])) ** 2, rtol=1e-5)


def test_what_cannot_be_says_so():
    for fields, name in (
        ({"n_steps": 12}, "n_steps"),
        ({"n_steps": 1}, "n_steps"),
        ({"share": -0.1}, "share"),
        ({"sigma_max": 0.0}, "sigma_max"),
    ):
        with pytest.raises(ValueError, match=name):
            Shortcut(**fields)
