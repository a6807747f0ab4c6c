"""VGG16's features, to compare pictures by, not a restorer.

    two, two, three, three, three 3x3 convolutions with ReLU, of 64, 128, 256, 512, 512 channels, and between these five
    groups a pooling by 2: the maximum of 2x2, or for DISTS the L2 norm under a 3x3 Hann window

Pictures in [0, 1], sRGB, are standardised by ImageNet's mean and standard deviation first. Weights are the user's:
torchvision's `vgg16` state dict, of which the convolutions are read, without PyTorch, by `nets.torch_file`.

References: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1
(D). Hénaff & Simoncelli 2016, "Geodesics of learned representations" (L2 pooling).
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.conv import Conv
from restore_jax.nets.torch_file import TorchFileError
from restore_jax.nets.torch_weights import Weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, as torchvision's nets expect
GROUPS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of the convolutions among torchvision's `features`
CHANNELS = tuple(c for c, _ in GROUPS)
SMALLEST = 16  # pixels a side, with pooling by maximum


def standardised(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """`(x - MEAN) / STD`, channel by channel."""
    mean, std = (jnp.asarray(v, x.dtype).reshape((1,) * (x.ndim - 1) + (3,)) for v in (MEAN, STD))
    return (x - mean) / std


class VGG16(nn.Module):
    """The five groups' last features, after their ReLU; sides halve from one to the next, rounded down.

    `pool` is "max" (the published net; at least 16 x 16 pixels) or "l2" (any size, rounded up), which is
    `sqrt(blur(f^2) + 1e-12)`, the blur (1, 2, 1) / 4 each way at every second pixel, with zeros outside.
    """

    pool: str = "max"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> list[Float[Array, "b _ _ _"]]:
        """What each group says of pictures in [0, 1]."""
        if self.pool not in ("max", "l2"):
            raise ValueError(f"VGG16.pool is 'max' or 'l2', not {self.pool!r}.")
        h, found, i = standardised(x), [], 0
        for channels, layers in GROUPS:
            if found:
                h = nn.max_pool(h, (2, 2), (2, 2)) if self.pool == "max" else l2_pool(h)
            for _ in range(layers):
                h = nn.relu(Conv(channels, (3, 3), padding="SAME", name=f"conv_{i}")(h))
                i += 1
            found.append(h)
        return found


def l2_pool(x: Float[Array, "*b h w c"]) -> Float[Array, "*b p q c"]:
    """`sqrt(blur(x^2) + 1e-12)` at every second pixel, the blur (1, 2, 1) / 4 each way; sides `ceil(side / 2)`."""
    h = x * x
    for axis in (x.ndim - 3, x.ndim - 2):
        n = -(-x.shape[axis] // 2)
        h = jnp.pad(h, [(1, 1) if k == axis else (0, 0) for k in range(x.ndim)])
        before, at, after = (jax.lax.slice_in_dim(h, k, k + 2 * n - 1, 2, axis) for k in range(3))
        h = 0.25 * before + 0.5 * at + 0.25 * after
    return jnp.sqrt(h + 1e-12)


@functools.partial(jax.jit, static_argnames="pool")
def features(params: Mapping[str, Any], x: Float[Array, "b h w 3"], pool: str = "max") -> list[Float[Array, "b _ _ _"]]:
    """The net's features under `params`, in one compiled program, in which `params` are arguments, not constants."""
    return VGG16(pool).apply({"params": params}, x)  # pyright: ignore[reportReturnType]


def vgg16_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `VGG16` from torchvision's state dict; its classifier, if there, is left aside.

    Raises:
        TorchFileError: tensors of `features` that are missing, left over, or of another shape.
    """
    w = Weights(state)
    params = {f"conv_{i}": w.conv(f"features.{place}", bias=True) for i, place in enumerate(PLACES)}
    return whole("VGG16", VGG16(), params, w)


def whole(name: str, net: nn.Module, params: dict[str, Any], w: Weights) -> dict[str, Any]:
    """`params`, read-only, where they are the net's to the last shape and `w` has nothing but a classifier left.

    Raises:
        TorchFileError: what is missing, left over or of another shape, calling the net `name`.
    """
    left = sorted(tensor for tensor in w.left if not tensor.startswith("classifier."))
    if w.missing or left:
        raise TorchFileError(f"not {name}'s features: missing {sorted(w.missing)[:4]}, left over {left[:4]}.")
    wanted = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))["params"]
    shapes = jax.tree.map(lambda a: a.shape, wanted, is_leaf=lambda a: hasattr(a, "shape"))
    for path, a in jax.tree_util.tree_leaves_with_path(params):
        place = functools.reduce(lambda tree, key: tree.get(key.key, {}), path, shapes)
        if place != a.shape:
            where = ".".join(str(key.key) for key in path)
            raise TorchFileError(f"not {name}'s features: {where} has the shape {a.shape}, not {place}.")
    return jax.tree.map(constant, params)


def constant(a: np.ndarray) -> np.ndarray:
    """The same numbers in float32, in one piece, and not to be written to."""
    a = np.array(a, np.float32, order="C")
    a.flags.writeable = False
    return a
