"""SqueezeNet 1.1's features, to compare pictures by, not a restorer.

    fire    x -> s = relu(Conv1(x)),  [relu(Conv1(s)), relu(Conv3(s))]      squeeze, then expand two ways
    net     Conv3 of stride 2, then eight of these in three groups of 2, 2 and 4, each group after a pooling: the
            maximum of 3x3 at every second pixel, the last window cut off by the border where it does not fit

Pictures in [0, 1], sRGB, are standardised by ImageNet's mean and standard deviation first. Weights are the user's:
torchvision's `squeezenet1_1` state dict, of which all but the classifier is read, without PyTorch, by
`nets.torch_file`.

Reference: Iandola et al. 2016, "SqueezeNet", figure 1 and section 3.2; 1.1 is the authors' later arrangement.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.layers import PointwiseConv
from restore_jax.nets.torch_weights import Weights
from restore_jax.nets.vgg import standardised, whole

# Where each fire module is among torchvision's `features`, its squeezed channels, and those it expands to each way.
FIRES = (
    (3, 16, 64),
    (4, 16, 64),
    (6, 32, 128),
    (7, 32, 128),
    (9, 48, 192),
    (10, 48, 192),
    (11, 64, 256),
    (12, 64, 256),
)
POOLED = (3, 6, 9)  # the modules after a pooling
TAPPED = (4, 7, 9, 10, 11, 12)  # the modules whose features are given
CHANNELS = (64, 128, 256, 384, 384, 512, 512)
SMALLEST = 17  # pixels a side, for the last pooling to find two


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 one side by side."""

    squeezed: int
    expanded: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """The same size, `2 expanded` channels."""
        h = nn.relu(PointwiseConv(self.squeezed, name="squeeze")(x))
        one = PointwiseConv(self.expanded, name="expand1x1")(h)
        three = Conv(self.expanded, (3, 3), padding="SAME", name="expand3x3")(h)
        return nn.relu(jnp.concatenate([one, three], axis=-1))


class SqueezeNet(nn.Module):
    """The stem's features and those of six fire modules, after their ReLU; at least 17 x 17 pixels."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> list[Float[Array, "b _ _ _"]]:
        """What each says of pictures in [0, 1]."""
        h = nn.relu(nn.Conv(64, (3, 3), (2, 2), padding="VALID", name="stem")(standardised(x)))
        found = [h]
        for place, squeezed, expanded in FIRES:
            if place in POOLED:
                cut: Any = [(0, _short(n)) for n in h.shape[1:3]]
                h = nn.max_pool(h, (3, 3), (2, 2), padding=cut)
            h = Fire(squeezed, expanded, name=f"fire_{place}")(h)
            if place in TAPPED:
                found.append(h)
        return found


def _short(n: int) -> int:
    """What a side lacks for windows of 3 at every second pixel to cover it."""
    return max(2 * (-(-(n - 3) // 2)) + 3 - n, 0)


@jax.jit
def features(params: Mapping[str, Any], x: Float[Array, "b h w 3"]) -> list[Float[Array, "b _ _ _"]]:
    """The net's features under `params`, in one compiled program, in which `params` are arguments, not constants."""
    return SqueezeNet().apply({"params": params}, x)  # pyright: ignore[reportReturnType]


def squeezenet_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `SqueezeNet` from torchvision's state dict of `squeezenet1_1`; its classifier is left aside.

    Raises:
        TorchFileError: tensors of `features` that are missing, left over, or of another shape.
    """
    w = Weights(state)
    params: dict[str, Any] = {"stem": w.conv("features.0", bias=True)}
    for place, *_ in FIRES:
        params[f"fire_{place}"] = {
            "squeeze": w.dense(f"features.{place}.squeeze", bias=True),
            "expand1x1": w.dense(f"features.{place}.expand1x1", bias=True),
            "expand3x3": w.conv(f"features.{place}.expand3x3", bias=True),
        }
    return whole("SqueezeNet 1.1", SqueezeNet(), params, w)
