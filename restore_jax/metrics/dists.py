"""DISTS, structure and texture by VGG16's features, on weights that the user has."""

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.metrics.lpips import read_backbone
from restore_jax.metrics.pixel import check_channels, same_shape, unit_range
from restore_jax.nets import vgg
from restore_jax.nets.torch_file import TorchFileError, read_torch_file

CHANNELS = (3, *vgg.CHANNELS)  # the picture itself, and the five groups
MISSING = "DISTS needs its weights: give Dists.weights the authors' file, or install torchmetrics, which carries it."


@dataclass(frozen=True)
class Dists:
    """DISTS for pictures in [0, 1], sRGB; 0 for equal ones, lower is better.

        f_0 = x,    f_1 .. f_5 = features of VGG16 with L2 pooling, all compared over the whole picture:
        l = (2 mean mean' + c) / (mean^2 + mean'^2 + c),    s = (2 cov + c) / (var + var' + c),    c = 1e-6
        distance = 1 - sum over k and channels of (alpha l + beta s),    alpha and beta together summing to 1

    formed from `1 - l` and `1 - s`, which keeps the digits of a small distance and gives exactly 0 for equal pictures.
    `backbone` is the path of torchvision's VGG16 state dict, `weights` that of `alpha` and `beta`, or "" for those in
    the installed package `torchmetrics`, which is not imported. Grey pictures are taken as three equal channels. The
    authors first reduce pictures until the shorter side is 256 pixels; here they are compared as they come.

    Files are read at the first call, without PyTorch. Under `jax.jit` the weights are constants of the program, 59 MB;
    to hand them over instead, call `distance(params, x_hat, x)` with `params = Dists(...).params()`.

    Raises:
        ImportError: no `weights`, and the package is not installed.
        TorchFileError: a file that is missing, or not what it should be.
        ValueError: other than 1 or 3 channels, or values clearly outside [0, 1] where they are known.

    Reference: Ding et al. 2020, "Image quality assessment: unifying structure and texture similarity".
    """

    backbone: str
    weights: str = ""

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        unit_range("Dists", x_hat, x)
        return self.distance(self.params(), x_hat, x)

    def params(self) -> dict[str, Any]:
        """The weights, read-only arrays on the host: `backbone`, and `alpha` and `beta`, one number a channel."""
        return _params(self.backbone, self.weights)

    def distance(
        self, params: Mapping[str, Any], x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]
    ) -> Float[Array, "*b"]:
        """The same under these weights."""
        same_shape(x_hat, x)
        check_channels("Dists", x)
        pair = [jnp.broadcast_to(p, (*p.shape[:-1], 3)).reshape(-1, *p.shape[-3:-1], 3) for p in (x_hat, x)]
        one, other = ([p, *vgg.features(params["backbone"], p, "l2")] for p in pair)
        unlike = [_unlike(f, g) for f, g in zip(one, other)]
        alpha, beta = (jnp.asarray(params[name], x.dtype) for name in ("alpha", "beta"))
        by_mean, by_structure = (jnp.concatenate(part, axis=-1) for part in zip(*unlike))
        share = alpha[None] * by_mean + beta[None] * by_structure
        total = jnp.sum(share, axis=-1) / (jnp.sum(alpha) + jnp.sum(beta))
        return total.reshape(x.shape[:-3]).astype(x.dtype)


def _unlike(f: Array, g: Array, c: float = 1e-6) -> tuple[Array, Array]:
    """`1 - l` and `1 - s` of every channel."""
    mean_f, mean_g = (jnp.mean(p, axis=(1, 2)) for p in (f, g))
    off_f, off_g = (p - m[:, None, None] for p, m in ((f, mean_f), (g, mean_g)))
    spread = jnp.mean(off_f**2 + off_g**2, axis=(1, 2))
    by_mean = (mean_f - mean_g) ** 2 / (mean_f**2 + mean_g**2 + c)
    return by_mean, jnp.mean((off_f - off_g) ** 2, axis=(1, 2)) / (spread + c)


@functools.lru_cache(maxsize=2)
def _params(backbone: str, weights: str) -> dict[str, Any]:
    alpha, beta = read_weights(weights)
    return {"backbone": read_backbone("vgg", backbone), "alpha": alpha, "beta": beta}


def read_weights(path: str = "") -> tuple[np.ndarray, np.ndarray]:
    """`alpha` and `beta`, 1475 numbers each, from `path` or from the installed package `torchmetrics`.

    Raises:
        ImportError: no path, and the package is not installed.
        TorchFileError: no such file, or other tensors in it.
    """
    if not path:
        spec = importlib.util.find_spec("torchmetrics")
        if spec is None or spec.origin is None:
            raise ImportError(MISSING)
        path = str(Path(spec.origin).parent / "functional" / "image" / "dists_models" / "weights.pt")
    state = read_torch_file(path)
    found, wanted = {name: a.size for name, a in state.items()}, {"alpha": sum(CHANNELS), "beta": sum(CHANNELS)}
    if found != wanted:
        raise TorchFileError(f"{path}: not the weights of DISTS: has {found}, not {wanted}.")
    alpha, beta = (vgg.constant(state[name].reshape(-1)) for name in wanted)
    return alpha, beta


EXAMPLES = ()  # needs a backbone's file; tests/metrics/test_dists.py has random ones
