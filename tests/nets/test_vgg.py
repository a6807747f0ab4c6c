"""VGG16's pieces by hand; the whole net is held to PyTorch's in tests/metrics/test_lpips.py and test_dists.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.torch_file import TorchFileError
from restore_jax.nets.vgg import MEAN, PLACES, STD, VGG16, l2_pool, standardised, vgg16_params


def test_standardised():
    mean, std = (jnp.asarray(v).reshape(1, 1, 3) for v in (MEAN, STD))
    np.testing.assert_allclose(standardised(mean + 2 * std), 2.0, rtol=1e-6)


def test_l2_pool_by_hand():
    """A single 4: its square, 16, seen with weights 1/2 or 1/4 each way. Sides are halved upwards."""
    x = jnp.zeros((5, 6, 1)).at[2, 3, 0].set(4.0)
    expected = np.zeros((3, 3, 1))
    expected[1, 1] = expected[1, 2] = np.sqrt(16 * 0.5 * 0.25)
    np.testing.assert_allclose(l2_pool(x), expected, atol=2e-6)
    assert l2_pool(jnp.ones((1, 1, 2))).shape == (1, 1, 2)


def test_other_files_and_poolings_are_refused():
    state = {f"features.{p}.{part}": np.zeros(4, np.float32) for p in PLACES for part in ("weight", "bias")}
    with pytest.raises(TorchFileError, match=r"missing \['features\.28\.bias'\], left over \['features\.30\.weight'\]"):
        vgg16_params({**{k: v for k, v in state.items() if k != "features.28.bias"}, "features.30.weight": np.zeros(1)})
    with pytest.raises(TorchFileError, match=r"conv_0\.kernel has the shape .* not \(3, 3, 3, 64\)"):
        vgg16_params({k: v.reshape(4, 1, 1, 1) if k.endswith("weight") else np.zeros(64) for k, v in state.items()})
    with pytest.raises(ValueError, match=r"VGG16\.pool is 'max' or 'l2', not 'mean'"):
        VGG16("mean").apply({"params": {}}, jnp.zeros((1, 16, 16, 3)))
