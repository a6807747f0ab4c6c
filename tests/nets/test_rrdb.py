"""RRDBNet: three arrangements of names are one net; nearest enlarging; scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.rrdb import RRDBNet, nearest
from restore_jax.nets.torch_weights import recognise

NEW = ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
OLD = ("conv_first", "trunk_conv", "upconv1", "upconv2", "HRconv", "conv_last")
FIRST = ("model.0", "model.1.sub.2", "model.3", "model.6", "model.8", "model.10")


def state_of(outer, block, stem=3, blocks=2, width=4, growth=2):
    """A state dict whose numbers depend on the place, not on the name."""
    rng = np.random.default_rng(0)
    shapes = dict(zip(outer, [(width, stem), *[(width, width)] * 4, (3, width)]))
    for i in range(blocks):
        for d in (1, 2, 3):
            for k in range(1, 6):
                last = width if k == 5 else growth
                shapes[block.format(i=i, d=d, k=k)] = (last, width + (k - 1) * growth)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = rng.normal(size=(*shape, 3, 3)).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    return state


def test_all_published_names_are_one_net():
    new = recognise(state_of(NEW, "body.{i}.rdb{d}.conv{k}"))
    assert new.net["blocks"] == 2
    assert new.net["growth"] == 2
    assert new.net["scale"] == 4
    for state in (
        state_of(OLD, "RRDB_trunk.{i}.RDB{d}.conv{k}"),
        state_of(FIRST, "model.1.sub.{i}.RDB{d}.conv{k}.0"),
    ):
        other = recognise(state)
        assert other.net == new.net
        jax.tree.map(np.testing.assert_array_equal, other.params, new.params)


@pytest.mark.parametrize(("stem", "scale"), [(3, 4), (12, 2), (48, 1)])
def test_the_scale_is_told_by_the_channels_of_the_first_convolution(stem, scale):
    assert recognise(state_of(NEW, "body.{i}.rdb{d}.conv{k}", stem, 1)).net["scale"] == scale


def test_nearest_repeats_pixels(key):
    x = jax.random.uniform(key, (2, 3, 2, 2))
    np.testing.assert_array_equal(nearest(x, 2), np.asarray(x).repeat(2, 1).repeat(2, 2))


def test_scale_3_is_refused(key):
    with pytest.raises(ValueError, match=r"RRDBNet.scale must be 1, 2 or 4, got 3"):
        RRDBNet(4, 1, 2, 3).init(key, jnp.zeros((1, 4, 4, 3)))
