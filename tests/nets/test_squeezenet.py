"""SqueezeNet 1.1's sizes; the whole net is held to PyTorch's in tests/metrics/test_lpips.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.squeezenet import CHANNELS, SMALLEST, SqueezeNet, squeezenet_params
from restore_jax.nets.torch_file import TorchFileError


def sizes(side):
    found = jax.eval_shape(
        lambda x: SqueezeNet().init_with_output(jax.random.key(0), x)[0], jnp.zeros((1, side, side, 3))
    )
    return [f.shape[1:] for f in found]


def test_sizes():
    """ImageNet's 224 pixels: 111 after the stem, then 55, 27 and 13 by windows cut off at the border."""
    assert sizes(224) == [(n, n, c) for n, c in zip((111, 55, 27, 13, 13, 13, 13), CHANNELS)]
    assert sizes(SMALLEST)[-1] == (1, 1, 512)


def test_other_files_are_refused():
    with pytest.raises(TorchFileError, match=r"not SqueezeNet 1.1's features: missing .* left over \['conv\.weight'\]"):
        squeezenet_params({"conv.weight": np.zeros((1, 1, 1, 1)), "classifier.1.weight": np.zeros((1, 1))})
