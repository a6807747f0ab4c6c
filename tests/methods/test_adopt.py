import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import SpecError
from restore_jax.methods.adopt import adopt

OURS = {"stem": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}, "until": {"kernel": jnp.full((2,), 7.0)}}


def test_theirs_replace_ours_and_the_rest_stays_fresh():
    theirs = {"stem": {"kernel": jnp.ones((3, 4)), "bias": jnp.full(4, 2.0)}}
    adopted = adopt(OURS, theirs)
    np.testing.assert_array_equal(adopted["stem"]["kernel"], theirs["stem"]["kernel"])
    np.testing.assert_array_equal(adopted["stem"]["bias"], theirs["stem"]["bias"])
    np.testing.assert_array_equal(adopted["until"]["kernel"], OURS["until"]["kernel"])


def test_the_same_network_is_taken_whole():
    theirs = {name: {leaf: array + 1 for leaf, array in layer.items()} for name, layer in OURS.items()}
    assert adopt(OURS, theirs) == theirs  # the very arrays


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"stem": {"kernel": jnp.ones((3, 5))}}, r"stem/kernel has shape \(3, 5\) in theirs and \(3, 4\) in ours"),
        ({"stem": {"scale": jnp.ones(4)}}, "theirs has stem/scale, and ours does not"),
        ({"head": {}}, "theirs has head, and ours does not"),
        ({"stem": jnp.ones(4)}, "stem is a layer in one and an array in the other"),
        ({"stem": {"bias": {"a": jnp.ones(4)}}}, "stem/bias is a layer in one"),
    ],
)
def test_a_leaf_without_a_place_is_named(theirs, message):
    with pytest.raises(SpecError, match=message):
        adopt(OURS, theirs)
