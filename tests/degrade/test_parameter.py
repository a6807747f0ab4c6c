"""One number or a range."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.parameter import Parameter, check, draw


@dataclass(frozen=True)
class Tilt:
    angle: Parameter

    def __post_init__(self):
        check(self, "angle", 0.0, 2.0)


def test_a_number_is_itself(key):
    assert draw(key, 0.1) == jnp.float32(0.1)
    with jax.enable_x64(True):
        assert draw(key, 0.1) == 0.1  # all its digits


def test_a_range_is_drawn_uniformly(key):
    """Uniform in [1, 3): mean 2, variance 1/3, whose estimates vary by 1/3/n and 4/45/n."""
    n = 4096
    drawn = jax.vmap(lambda one: draw(one, (1.0, 3.0)))(jax.random.split(key, n))
    drawn = np.asarray(drawn, np.float64)
    assert drawn.min() >= 1
    assert drawn.max() < 3
    assert abs(drawn.mean() - 2) < 5 * np.sqrt(1 / 3 / n)
    assert abs(drawn.var() - 1 / 3) < 5 * np.sqrt(4 / 45 / n)


@pytest.mark.parametrize("value", [0.0, 2.0, 1, (0.0, 2.0), (1.0, 1.0)])
def test_what_lies_inside_passes(value):
    assert Tilt(value).angle == value


@pytest.mark.parametrize(
    "value", [-0.1, 2.1, float("nan"), (1.5, 0.5), (-1.0, 1.0), (1.0, 3.0), (0.1, 0.2, 0.3), (0.1,)]
)
def test_what_lies_outside_is_named(value):
    with pytest.raises(ValueError, match=r"Tilt\.angle must be a number or a rising pair in \[0, 2\], not "):
        Tilt(value)
