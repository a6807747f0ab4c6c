"""Retention: who stays, by each part of the rule, and that keeping twice is keeping once."""

import math
import random

import pytest

from restore_jax.build import build
from restore_jax.train.retain import Retain

NONE: dict[str, float] = {}


def saved(*steps, **values):
    return {step: {name: numbers[i] for name, numbers in values.items()} for i, step in enumerate(steps)}


def test_the_latest():
    assert Retain(latest=2).kept(saved(5, 1, 9, 7), 4) == {7, 9}
    assert Retain(latest=9).kept(saved(1, 2), 4) == {1, 2}
    assert Retain().kept({}, 4) == frozenset()


def test_the_best_and_of_equals_the_newer():
    psnr = saved(1, 2, 3, 4, 5, heldout_psnr=[30.0, 32.0, 32.0, 31.0, 20.0])
    assert Retain(latest=1, best=1).kept(psnr, 4) == {3, 5}
    assert Retain(latest=1, best=3).kept(psnr, 4) == {2, 3, 4, 5}
    assert Retain(latest=1, best=1, highest=False).kept(psnr, 4) == {5}
    loss = saved(1, 2, 3, loss=[0.1, 0.3, 0.2])
    assert Retain(latest=1, best=1, metric="loss", highest=False).kept(loss, 4) == {1, 3}


def test_what_has_no_number_is_never_best():
    values = {1: {"heldout_psnr": math.nan}, 2: NONE, 3: {"heldout_psnr": math.inf}, 4: {"heldout_psnr": 1.0}, 5: NONE}
    assert Retain(latest=1, best=5).kept(values, 4) == {4, 5}


def test_the_first_at_or_after_each_multiple_for_ever():
    """Steps of 4 images, a multiple every 10: it is passed at 12, 20, 32 and 40 images."""
    assert Retain(latest=1, every_images=10).kept(saved(*range(1, 11)), 4) == {3, 5, 8, 10}
    assert Retain(latest=1, every_images=10).kept(saved(1, 6, 7, 9, 11), 4) == {6, 9, 11}


@pytest.mark.parametrize("seed", range(5))
def test_keeping_as_the_run_goes_is_keeping_at_the_end(seed):
    """Removing after every save leaves what the rule would keep of them all: nothing needed later is lost."""
    rng = random.Random(seed)
    rule = Retain(latest=rng.randint(1, 3), best=rng.randint(0, 3), every_images=rng.choice((0, 10, 37)))
    on_disk, everything, step = {}, {}, 0
    for _ in range(40):
        step += rng.randint(1, 5)
        everything[step] = on_disk[step] = {"heldout_psnr": rng.choice((1.0, 2.0, rng.random()))}
        kept = rule.kept(on_disk, 4)
        on_disk = {s: v for s, v in on_disk.items() if s in kept}
        assert rule.kept(on_disk, 4) == kept
    assert on_disk.keys() == rule.kept(everything, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latest": 0}, r"Retain.latest must be >= 1, not 0"),
        ({"best": -1}, r"Retain.best must be >= 0, not -1"),
        ({"every_images": -5}, r"Retain.every_images must be >= 0, not -5"),
        ({"best": 1, "metric": ""}, r"Retain.metric must name a number"),
    ],
)
def test_a_rule_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        build({"name": "train.retain.Retain", **fields})
