"""Consistency on a bridge, for one pixel whose p(x | y) is Gaussian: everything is affine and known.

The answer is f(x_r, r), where x_r has the noise of x_s. What x was cannot be seen from x_s, but its mean can,
D(x_s, s); so for an f that is affine in x, E[f(x_r, r) | x_s] is f at the point that a step of the exact flow reaches,

    x_r = D + w_r (y - D) + std_r n,    n = (x_s - D - w_s (y - D)) / std_s.

The consistency function is the affine map that takes the marginal of each level to p(x | y).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, TrainState, per_image
from restore_jax.diffusion.bridge import ResidualShift
from restore_jax.targets.bridge_consistency import BridgeConsistency

N = 20_000
MEAN, DEVIATION, Y = 0.4, 0.17, 0.7
BRIDGE = ResidualShift(0.2, 10.0, 1.0)


def marginal(t):
    """Mean and deviation of x_t given y."""
    left = 1 - BRIDGE.mean_weight(t)
    return left * MEAN + (1 - left) * Y, jnp.sqrt((left * DEVIATION) ** 2 + BRIDGE.std(t) ** 2)


def consistency(x_t, t):
    centre, deviation = marginal(t)
    return MEAN + per_image(DEVIATION / deviation, x_t) * (x_t - per_image(centre, x_t))


def flow(x_s, s, r):
    """One step of the exact flow, from s to r."""
    centre, deviation = marginal(s)
    gain = (1 - BRIDGE.mean_weight(s)) * DEVIATION**2 / deviation**2
    x_hat = MEAN + per_image(gain, x_s) * (x_s - per_image(centre, x_s))
    w_s, w_r = (per_image(BRIDGE.mean_weight(t), x_s) for t in (s, r))
    n = (x_s - x_hat - w_s * (Y - x_hat)) / per_image(BRIDGE.std(s), x_s)
    return x_hat + w_r * (Y - x_hat) + per_image(BRIDGE.std(r), x_s) * n


def supervision(stage: int, at_end: float = 0.0):
    """`N` answers of the exact consistency function, the level r that they were given at, and x."""
    target = BridgeConsistency(BRIDGE, stage_steps=1, at_end=at_end)
    key_x, key = jax.random.split(jax.random.key(1))
    x = MEAN + DEVIATION * jax.random.normal(key_x, (N, 1, 1, 1))
    obs = Observation(y=x).with_cond(image=jnp.full_like(x, Y))
    state = TrainState(jnp.asarray(stage), {}, {}, (), key)
    said = target(key, lambda _, x_t, t, obs: consistency(x_t, t), state, obs, x)
    return said, target.earlier(said.inputs[1], stage), x


def z_scores(said, estimate) -> np.ndarray:
    """`E[(target - estimate) g(x_s, s)]` in standard errors, for several g: 0 iff the means agree."""
    x_s, s = said.inputs
    scores = []
    for g in (jnp.ones_like(x_s), x_s - 0.5, jnp.sin(20 * x_s), per_image(s, x_s) - 0.5):
        each = np.asarray((said.target - estimate) * g, np.float64)
        scores.append(each.mean() / each.std() * np.sqrt(N))
    return np.abs(scores)


@pytest.mark.parametrize("stage", [0, 1, 2, 5])
def test_the_mean_answer_is_a_step_of_the_flow_s(stage):
    said, r, _ = supervision(stage)
    assert (z_scores(said, consistency(flow(*said.inputs, r), r)) < 4).all()


def test_a_wide_gap_is_biased_and_a_narrow_one_is_not():
    """A step's error is of second order in the gap, so that the pull per unit of gap (weight 1 / gap) vanishes."""
    gaps, biases = [], []
    for stage in (3, 4, 5, 6):
        said, r, _ = supervision(stage)
        s = said.inputs[1]
        away = consistency(flow(*said.inputs, r), r) - consistency(*said.inputs)
        gaps.append(float(jnp.mean(s - r)))
        # In standard deviations of what is kept at s; where s is tiny both ends are x, and rounding is all there is.
        kept = np.asarray(s > 0.1)
        biases.append(float(jnp.sqrt(jnp.mean(away[kept] ** 2))))
    assert abs(np.polyfit(np.log(gaps), np.log(biases), 1)[0] - 2) < 0.15
    assert z_scores(supervision(0)[0], consistency(*supervision(0)[0].inputs)).max() > 8


def test_stage_zero_is_the_bridge_s_own_training():
    said, r, x = supervision(0)
    np.testing.assert_array_equal(r, np.zeros(N))
    np.testing.assert_allclose(said.target, x, atol=4 * np.finfo(np.float32).eps)


def test_fresh_noise_for_the_question_is_found():
    """Planted: a question that does not share its answer's noise."""
    said, r, x = supervision(2)
    s = said.inputs[1]
    centre = x + per_image(BRIDGE.mean_weight(s), x) * (Y - x)
    unshared = centre + per_image(BRIDGE.std(s), x) * jax.random.normal(jax.random.key(7), x.shape)
    said = said.replace(inputs=(unshared, s))
    assert z_scores(said, consistency(flow(*said.inputs, r), r)).max() > 8


def test_a_share_of_the_questions_is_put_where_restoring_starts():
    said, r, _ = supervision(2, at_end=0.3)
    s = said.inputs[1]
    share = float(jnp.mean(s == 1.0))
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / N)
    np.testing.assert_allclose(r, 0.75 * s, rtol=1e-6)
    np.testing.assert_allclose(said.weight, 1 / (s - r))


@pytest.mark.parametrize(("field", "value"), [("q", 1.0), ("stage_steps", 0), ("at_end", 1.5)])
def test_what_cannot_be_says_so(field, value):
    with pytest.raises(ValueError, match=rf"BridgeConsistency\.{field} .*, not {value}"):
        BridgeConsistency(BRIDGE, **{field: value})


def test_without_its_end_it_says_so(key):
    x, state = jnp.zeros((1, 1, 1, 1)), TrainState(jnp.asarray(0), {}, {}, (), key)
    with pytest.raises(ValueError, match=r'needs cond\["image"\]'):
        BridgeConsistency(BRIDGE)(key, lambda *_: x, state, Observation(y=x), x)
