"""The sum of several metrics."""

import jax
import numpy as np
import pytest

from restore_jax.metrics.colour import Colour
from restore_jax.metrics.pixel import Mse
from restore_jax.metrics.total import Total


def test_it_is_the_weighted_sum_and_so_is_its_slope(key):
    x_hat, x = jax.random.uniform(key, (2, 3, 16, 16, 3))
    total, parts = Total((Mse(), Colour(4)), (2.0, 0.5)), (Mse(), Colour(4))
    slope = lambda metric: np.asarray(jax.grad(lambda x_hat: metric(x_hat, x).sum())(x_hat))
    one, two = (np.asarray(part(x_hat, x)) for part in parts)
    np.testing.assert_allclose(total(x_hat, x), 2 * one + 0.5 * two, rtol=4e-7)  # three roundings
    np.testing.assert_allclose(slope(total), 2 * slope(parts[0]) + 0.5 * slope(parts[1]), atol=1e-9)


@pytest.mark.parametrize(
    ("weights", "said"), [((), "0 weights"), ((1.0, 1.0), "2 weights"), ((-1.0,), r"0 or above, not \(-1.0,\)")]
)
def test_what_cannot_be_says_so(weights, said):
    with pytest.raises(ValueError, match=said):
        Total((Mse(),), weights)
