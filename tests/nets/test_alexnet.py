"""AlexNet's sizes; the whole net is held to PyTorch's in tests/metrics/test_lpips.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.alexnet import CHANNELS, SMALLEST, AlexNet, alexnet_params
from restore_jax.nets.torch_file import TorchFileError


def sizes(side):
    found = jax.eval_shape(lambda x: AlexNet().init_with_output(jax.random.key(0), x)[0], jnp.zeros((1, side, side, 3)))
    return [f.shape[1:] for f in found]


def test_sizes():
    """ImageNet's 224 pixels: 55, 27, 13 as published for this arrangement; one pixel is left of the smallest."""
    assert sizes(224) == [(n, n, c) for n, c in zip((55, 27, 13, 13, 13), CHANNELS)]
    assert sizes(SMALLEST)[-1] == (1, 1, 256)
    assert sizes(SMALLEST - 1)[-1] == (0, 0, 256)


def test_other_files_are_refused():
    with pytest.raises(TorchFileError, match=r"not AlexNet's features: missing .* left over \['conv\.weight'\]"):
        alexnet_params({"conv.weight": np.zeros((1, 1, 1, 1)), "classifier.1.weight": np.zeros((1, 1))})
