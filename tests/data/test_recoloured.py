"""Six orders of the channels, the first of which changes nothing."""

import numpy as np

from restore_jax.build import build
from restore_jax.data.recoloured import EXAMPLES, ORDERS, Recoloured
from tests.data.test_multiscale import photos


def test_every_order_of_every_photograph():
    source, recoloured = photos(), Recoloured(photos())
    assert len(recoloured) == 12
    assert len(set(recoloured.names)) == 12
    assert recoloured.names[:2] == tuple(source.names)
    assert recoloured.sizes == ((24, 31), (17, 40)) * 6
    np.testing.assert_array_equal(recoloured[0], source[0])
    found = {tuple(photo.reshape(-1, 3).sum(0)) for photo in list(recoloured)[::2]}
    assert len(found) == 6  # of noise, whose channels have different sums
    assert {tuple(sorted(sums)) for sums in found} == {tuple(sorted(source[0].reshape(-1, 3).sum(0)))}
    for j, order in enumerate(ORDERS):
        np.testing.assert_array_equal(recoloured[2 * j], source[0][..., list(order)])


def test_it_is_a_spec():
    assert len(build(EXAMPLES[0])) == 18
