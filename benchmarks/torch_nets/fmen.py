"""FMEN, its branches merged, as a PyTorch user writes it, under the names of the weights of the NTIRE 2022 challenge;
pictures in [0, 255]."""

import torch
from torch import nn

SLOPE = 0.1


class Rep(nn.Module):
    """A 3x3 convolution that had parallel branches while it was trained."""

    def __init__(self, c: int):
        super().__init__()
        self.rep_conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        """The answer to `x`."""
        return self.rep_conv(x)


class Block(nn.Module):
    """Two convolutions, an activation between them."""

    def __init__(self, c: int):
        super().__init__()
        self.conv1, self.conv2 = Rep(c), Rep(c)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x):
        """The answer to `x`."""
        return self.conv2(self.act(self.conv1(x)))


class HFAB(nn.Module):
    """High-frequency attention: a gate from a few convolutions on a few channels."""

    def __init__(self, c: int, mid: int, blocks: int):
        super().__init__()
        self.squeeze = nn.Conv2d(c, mid, 3, padding=1)
        self.convs = nn.Sequential(*(Block(mid) for _ in range(blocks)))
        self.excitate = nn.Conv2d(mid, c, 3, padding=1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x):
        """The answer to `x`."""
        y = self.act(self.convs(self.act(self.squeeze(x))))
        return x * torch.sigmoid(self.excitate(y))


class FMEN(nn.Module):
    """Pictures in [0, 255]."""

    data_range = 255.0  # of a white pixel, to the published weights

    def __init__(self, width: int, mids: tuple[int, ...], inner: tuple[int, ...], scale: int):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.warmup = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), HFAB(width, mids[0], inner[0]))
        self.basic_blocks = nn.ModuleList(Block(width) for _ in mids[1:])
        self.hfabs = nn.ModuleList(HFAB(width, mid, n) for mid, n in zip(mids[1:], inner[1:]))
        self.lr_conv = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        """The answer to `x`."""
        stem = self.head(x)
        h = self.warmup(stem)
        for block, hfab in zip(self.basic_blocks, self.hfabs):
            h = hfab(block(h))
        return self.tail(self.lr_conv(h) + stem)


def twin(net) -> nn.Module:
    """The same network as `restore_jax.nets.fmen.FMEN`, with weights of its own."""
    return FMEN(net.width, net.mids, net.inner, net.scale)
