"""PyTorch's metrics, where they are installed, and the torchvision that two of them want."""

import functools
import warnings

import numpy as np
import pytest


@functools.cache
def _operators(torch):
    """torchvision declares itself to an operator of its own, which its build for another PyTorch did not bring."""
    try:
        torch.ops.torchvision.nms  # noqa: B018
    except (AttributeError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library


@functools.cache
def peer(name):
    """The module `name`, or a skip with the reason."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if name in ("lpips", "piq", "torchmetrics", "torchvision"):
        _operators(torch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed")


def nchw(x):
    """A torch tensor of a picture or a batch, channels first."""
    torch = peer("torch")
    x = np.asarray(x)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x if x.ndim == 4 else x[None], -1, 1)))


def seeded(net, seed=0):
    """The torch net with He weights, whose deep features neither vanish nor grow, and its biases a little off 0."""
    torch = peer("torch")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            std = 0.05 if p.ndim == 1 else (2 / p[0].numel()) ** 0.5
            p.copy_(std * torch.randn(p.shape, generator=draw))
    return net.eval()
