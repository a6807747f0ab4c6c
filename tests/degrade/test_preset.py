"""Presets are chains that can be written down, and files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build, spec_of
from restore_jax.degrade.preset import Phone, Scan, Web


@pytest.mark.parametrize(
    "preset",
    [Web(), *(pytest.param(one, marks=pytest.mark.soak) for one in (Phone(), Scan()))],
    ids=lambda p: type(p).__name__,
)
def test_a_preset_is_its_chain_as_a_file(preset):
    assert build(spec_of(preset.chain)) == preset.chain
    x = jnp.asarray(np.random.default_rng(0).random((32, 32, 3)), jnp.float32)
    key = jax.random.key(1)
    y = preset(key, x).y
    np.testing.assert_allclose(y, np.round(np.clip(preset.chain(key, x).y, 0, 1) * 255) / 255, atol=2.0**-22)
    assert jnp.abs(y - x).max() > 8 / 255  # harm is done
