"""LPIPS, the learned perceptual distance, on a backbone that the user has."""

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import check_channels, same_shape, unit_range
from restore_jax.nets import alexnet, squeezenet, vgg
from restore_jax.nets.torch_file import TorchFileError, read_torch_file


class Backbone(NamedTuple):
    """A net to compare features of, and how its weights are read."""

    features: Callable[..., list[Array]]
    params: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
    channels: tuple[int, ...]
    smallest: int


BACKBONES = {
    "alex": Backbone(alexnet.features, alexnet.alexnet_params, alexnet.CHANNELS, alexnet.SMALLEST),
    "vgg": Backbone(vgg.features, vgg.vgg16_params, vgg.CHANNELS, vgg.SMALLEST),
    "squeeze": Backbone(squeezenet.features, squeezenet.squeezenet_params, squeezenet.CHANNELS, squeezenet.SMALLEST),
}
MISSING = (
    'LPIPS needs its linear heads, the extra "lpips": pip install "restore-jax[lpips]", or give Lpips.heads a file.'
)


@dataclass(frozen=True)
class Lpips:
    """LPIPS v0.1 for pictures in [0, 1], sRGB; 0 for equal ones, lower is better.

        f_k = features of layer k at each pixel,    u_k = f_k / (|f_k| + 1e-10)
        distance = sum over layers k of the mean over pixels of sum_c head_k[c] (u_k(x_hat) - u_k(x))_c^2

    `backbone` is the path of a state dict as torchvision saves it, of AlexNet ("alex", the authors' choice for
    measuring), VGG16 ("vgg", for losses) or SqueezeNet 1.1 ("squeeze"), trained on ImageNet; `heads` that of the linear
    heads, or "" for those of the installed package `lpips`, which is not imported. Equal to that package up to
    rounding. Grey pictures are taken as three equal channels.

    Files are read at the first call, without PyTorch. Under `jax.jit` the weights are constants of the program; to
    hand them over instead, call `distance(params, x_hat, x)` with `params = Lpips(...).params()`.

    Raises:
        ImportError: no `heads`, and the package is not installed.
        TorchFileError: a file that is missing, or not what it should be.
        ValueError: an unknown `net`; a picture that is too small (31, 16, 17 pixels a side), of other than 1 or 3
            channels, or clearly outside [0, 1] where its values are known.

    Reference: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", eq. 1.
    """

    backbone: str
    net: str = "alex"
    heads: str = ""

    def __post_init__(self):
        if self.net not in BACKBONES:
            raise ValueError(f"Lpips.net is one of {', '.join(BACKBONES)}, not {self.net!r}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        unit_range("Lpips", x_hat, x)
        return self.distance(self.params(), x_hat, x)

    def params(self) -> dict[str, Any]:
        """The weights, read-only arrays on the host: `backbone`, and `heads`, a tuple of one vector a layer."""
        return _params(self.backbone, self.net, self.heads)

    def distance(
        self, params: Mapping[str, Any], x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]
    ) -> Float[Array, "*b"]:
        """The same under these weights."""
        same_shape(x_hat, x)
        check_channels("Lpips", x)
        net = BACKBONES[self.net]
        if min(x.shape[-3:-1]) < net.smallest:
            raise ValueError(
                f"Lpips.net = {self.net!r} needs sides of {net.smallest} pixels or more, not {x.shape[-3:-1]}."
            )
        pair = [jnp.broadcast_to(p, (*p.shape[:-1], 3)).reshape(-1, *p.shape[-3:-1], 3) for p in (x_hat, x)]
        one, other = (net.features(params["backbone"], p) for p in pair)
        each = [
            _between(_unit(f), _unit(g), jnp.asarray(w, x.dtype))
            for f, g, w in zip(one, other, params["heads"], strict=True)
        ]
        return sum(each[1:], each[0]).reshape(x.shape[:-3]).astype(x.dtype)


def _unit(f: Array) -> Array:
    square = jnp.sum(f * f, axis=-1, keepdims=True)
    # The root sees no 0, where its slope is infinite: a pixel at which every feature is off.
    return f / (jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0) + 1e-10)


def _between(u: Array, v: Array, head: Array) -> Array:
    return jnp.mean(jnp.sum(head.reshape(1, 1, 1, -1) * (u - v) ** 2, axis=-1), axis=(-2, -1))


@functools.lru_cache(maxsize=4)
def _params(backbone: str, net: str, heads: str) -> dict[str, Any]:
    return {"backbone": read_backbone(net, backbone), "heads": read_heads(net, heads)}


def read_backbone(net: str, path: str) -> dict[str, Any]:
    """The parameters of the net `net` from torchvision's state dict at `path`.

    Raises:
        TorchFileError: no such file, or not this net's.
    """
    state = read_torch_file(path)
    try:
        return BACKBONES[net].params(state)
    except TorchFileError as error:
        raise TorchFileError(f"{path}: {error}") from None


def read_heads(net: str, path: str = "") -> tuple[np.ndarray, ...]:
    """LPIPS's heads for `net`, one vector a layer, from `path` or from the installed package `lpips`.

    Raises:
        ImportError: no path, and the package is not installed.
        TorchFileError: no such file, or not the heads of this net.
    """
    if not path:
        spec = importlib.util.find_spec("lpips")
        if spec is None or spec.origin is None:
            raise ImportError(MISSING)
        path = str(Path(spec.origin).parent / "weights" / "v0.1" / f"{net}.pth")
    state = read_torch_file(path)
    wanted = {f"lin{k}.model.1.weight": c for k, c in enumerate(BACKBONES[net].channels)}
    found = {name: a.size for name, a in state.items()}
    if found != wanted:
        raise TorchFileError(f"{path}: not LPIPS's heads for {net!r}: has {found}, not {wanted}.")
    return tuple(vgg.constant(state[name].reshape(-1)) for name in wanted)


EXAMPLES = ()  # needs a backbone's file; tests/metrics/test_lpips.py has random ones
