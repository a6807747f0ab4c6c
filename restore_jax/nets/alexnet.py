"""AlexNet's features, to compare pictures by, not a restorer.

    Conv11 of stride 4, pool, Conv5, pool, Conv3, Conv3, Conv3: 64, 192, 384, 256, 256 channels, a ReLU after each,
    pooling the maximum of 3x3 at every second pixel

The arrangement is torchvision's, which has the 64 and 192 filters of the one-GPU net. Pictures in [0, 1], sRGB, are
standardised by ImageNet's mean and standard deviation first. Weights are the user's: torchvision's `alexnet` state
dict, of which the convolutions are read, without PyTorch, by `nets.torch_file`.

Reference: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.torch_weights import Weights
from restore_jax.nets.vgg import standardised, whole

LAYERS = ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))  # channels and kernel of each
PLACES = (0, 3, 6, 8, 10)  # of the convolutions among torchvision's `features`
CHANNELS = tuple(c for c, _ in LAYERS)
SMALLEST = 31  # pixels a side, for the last pooling to find its 3x3


class AlexNet(nn.Module):
    """The five layers' features, after their ReLU; at least 31 x 31 pixels."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> list[Float[Array, "b _ _ _"]]:
        """What each layer says of pictures in [0, 1]."""
        h, found = standardised(x), []
        for i, (channels, k) in enumerate(LAYERS):
            if i in (1, 2):
                h = nn.max_pool(h, (3, 3), (2, 2))
            stride, pad = (4, 2) if i == 0 else (1, k // 2)
            h = nn.Conv(channels, (k, k), (stride, stride), padding=((pad, pad), (pad, pad)), name=f"conv_{i}")(h)
            h = nn.relu(h)
            found.append(h)
        return found


@jax.jit
def features(params: Mapping[str, Any], x: Float[Array, "b h w 3"]) -> list[Float[Array, "b _ _ _"]]:
    """The net's features under `params`, in one compiled program, in which `params` are arguments, not constants."""
    return AlexNet().apply({"params": params}, x)  # pyright: ignore[reportReturnType]


def alexnet_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `AlexNet` from torchvision's state dict; its classifier, if there, is left aside.

    Raises:
        TorchFileError: tensors of `features` that are missing, left over, or of another shape.
    """
    w = Weights(state)
    params = {f"conv_{i}": w.conv(f"features.{place}", bias=True) for i, place in enumerate(PLACES)}
    return whole("AlexNet", AlexNet(), params, w)
