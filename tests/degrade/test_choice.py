"""Chance: what is drawn how often, what happens in which order, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.chain import Chain
from restore_jax.degrade.choice import Choice, Maybe, Shuffle
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.noise import Gaussian

KEYS = jax.random.split(jax.random.key(1), 2000)


def add(amount):
    return lambda key, x: Observation(y=x + amount)


def times(factor):
    return lambda key, x: Observation(y=x * factor)


def outcomes(degrade):
    """What becomes of one black pixel, for each of the keys."""
    return np.asarray(jax.jit(jax.vmap(lambda key: degrade(key, jnp.zeros((1, 1, 1))).y))(KEYS)).ravel()


def assert_frequent(found, value, p):
    """`value` came with probability p, within 5 standard errors."""
    assert abs(np.mean(found == value) - p) <= 5 * np.sqrt(p * (1 - p) / len(found))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(None, (1 / 3, 1 / 3, 1 / 3)), ((3.0, 0.0, 1.0), (0.75, 0.0, 0.25)), ((0.0, 5.0, 0.0), (0.0, 1.0, 0.0))],
)
def test_choice_is_by_weight(weights, expected):
    found = outcomes(Choice(options=(add(1.0), add(2.0), add(4.0)), weights=weights))
    for value, p in zip((1.0, 2.0, 4.0), expected):
        assert_frequent(found, value, p)
    assert set(found) <= {1.0, 2.0, 4.0}


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_maybe_is_by_probability(p):
    found = outcomes(Maybe(step=add(1.0), probability=p))
    assert_frequent(found, 1.0, p)
    assert_frequent(found, 0.0, 1 - p)


def test_shuffle_takes_every_order_equally_often():
    """From 0, `+1`, `*3` and `+5` in their six orders give five values, two orders agreeing on 18 and none else."""
    a, b, c = (lambda v: v + 1), (lambda v: v * 3), (lambda v: v + 5)
    orders = [(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)]
    ends = [last(second(first(0.0))) for first, second, last in orders]
    found = outcomes(Shuffle(steps=(add(1.0), times(3.0), add(5.0))))
    for value in set(ends):
        assert_frequent(found, value, ends.count(value) / 6)
    assert set(found) == set(ends)


def test_choice_may_change_the_size_and_leaves_nothing_known(key):
    small = Choice(options=(Downsample(scale=2), Chain(steps=(Downsample(scale=2), Gaussian(std=0.1)))))
    obs = small(key, jnp.ones((8, 12, 3)))
    assert obs.y.shape == (4, 6, 3)
    assert obs.operator is None
    assert obs.noise_std is None


def test_the_step_has_randomness_of_its_own(key):
    """Noise does not follow from the coin: of pictures that were harmed none are alike."""
    noisy = jax.vmap(lambda key: Maybe(step=Gaussian(std=1.0), probability=0.5)(key, jnp.zeros((2, 2, 1))).y)(KEYS[:32])
    first = np.asarray(noisy)[:, 0, 0, 0]
    assert len(set(first[first != 0])) == np.sum(first != 0) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(), r"Choice\.options is empty"),
        (lambda: Choice(options=(add(1.0),), weights=(1.0, 2.0)), r"Choice\.weights must be one an option: 1, not 2"),
        (lambda: Choice(options=(add(1.0), add(2.0)), weights=(1.0, -1.0)), r"Choice\.weights must lie in \[0, inf\)"),
        (lambda: Choice(options=(add(1.0),), weights=(0.0,)), r"Choice\.weights must .* not all be 0"),
        (lambda: Maybe(step=add(1.0), probability=1.5), r"Maybe\.probability must be .* in \[0, 1\], not 1.5"),
        (lambda: Shuffle(), r"Shuffle\.steps is empty"),
    ],
)
def test_errors_when_built(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("degrade", "message"),
    [
        (Choice(options=(add(1.0), Downsample(scale=2))), r"Choice\.options\[1\] makes \(4, 6, 3\) of .* \(8, 12, 3\)"),
        (Maybe(step=Downsample(scale=2)), r"Maybe\.step makes \(4, 6, 3\) of a picture \(8, 12, 3\)"),
        (Shuffle(steps=(add(1.0), Downsample(scale=2))), r"Shuffle\.steps\[1\] makes \(4, 6, 3\)"),
    ],
)
def test_errors_when_shapes_differ(key, degrade, message):
    with pytest.raises(ValueError, match=message):
        degrade(key, jnp.zeros((8, 12, 3)))
