"""The line between two networks."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import SpecError
from restore_jax.methods.interpolate import interpolate

ONE = {"a": {"kernel": jnp.asarray([1.0, 2.0])}, "b": jnp.asarray(4.0)}
OTHER = {"a": {"kernel": jnp.asarray([3.0, -2.0])}, "b": jnp.asarray(0.0)}


def test_the_ends_and_the_middle_are_exact():
    for share, expected in ((0.0, (1.0, 2.0, 4.0)), (1.0, (3.0, -2.0, 0.0)), (0.25, (1.5, 1.0, 3.0))):
        found = interpolate(ONE, OTHER, share)
        np.testing.assert_array_equal([*found["a"]["kernel"], found["b"]], expected)


def test_the_share_may_be_traced_and_a_leaf_keeps_its_precision():
    narrow = {"k": jnp.asarray([1.0], jnp.bfloat16)}
    assert interpolate(narrow, narrow, jnp.asarray(0.5)).get("k").dtype == jnp.bfloat16


def test_a_linear_network_between_two_answers_between_them():
    x = jnp.asarray([0.3, 0.7])
    answer = lambda p: p["a"]["kernel"] @ x + p["b"]
    between = 0.3 * answer(OTHER) + 0.7 * answer(ONE)
    np.testing.assert_allclose(answer(interpolate(ONE, OTHER, 0.3)), between, rtol=1e-6)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"b": jnp.asarray(0.0)}, r"only the first has \['a'\]\['kernel'\]"),
        (OTHER | {"c": jnp.asarray(0.0)}, r"only the second has \['c'\]"),
        (OTHER | {"b": jnp.zeros(2)}, r"\['b'\] has shape \(\) in the first and \(2,\) in the second"),
    ],
)
def test_trees_that_differ_are_refused(other, says):
    with pytest.raises(SpecError, match=says):
        interpolate(ONE, other, 0.5)
