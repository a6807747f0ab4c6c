"""RLFN as a PyTorch user writes it, under the names of the NTIRE 2022 challenge's weights; pictures in [0, 255]."""

import torch
from torch import nn
from torch.nn import functional


class ESA(nn.Module):
    """The attention with one convolution after the pool."""

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, features, 1)
        self.conv_f = nn.Conv2d(features, features, 1)
        self.conv2 = nn.Conv2d(features, features, 3, stride=2)
        self.conv3 = nn.Conv2d(features, features, 3, padding=1)
        self.conv4 = nn.Conv2d(features, channels, 1)

    def forward(self, x):
        """The answer to `x`."""
        reduced = self.conv1(x)
        coarse = functional.max_pool2d(self.conv2(reduced), 7, stride=3)
        coarse = functional.interpolate(self.conv3(coarse), x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(coarse + self.conv_f(reduced)))


class RLFB(nn.Module):
    """Three convolutions, a residual, a gate."""

    def __init__(self, width: int, mid: int, esa: int):
        super().__init__()
        self.c1_r = nn.Conv2d(width, mid, 3, padding=1)
        self.c2_r = nn.Conv2d(mid, mid, 3, padding=1)
        self.c3_r = nn.Conv2d(mid, width, 3, padding=1)
        self.c5 = nn.Conv2d(width, width, 1)
        self.esa = ESA(width, esa)
        self.act = nn.LeakyReLU(0.05, inplace=True)

    def forward(self, x):
        """The answer to `x`."""
        y = x
        for conv in (self.c1_r, self.c2_r, self.c3_r):
            y = self.act(conv(y))
        return self.esa(self.c5(x + y))


class RLFN(nn.Module):
    """Pictures in [0, 255]."""

    data_range = 255.0  # of a white pixel, to the published weights

    def __init__(self, width: int, mid: int, esa: int, blocks: int, scale: int):
        super().__init__()
        self.blocks = blocks
        self.fea_conv = nn.Conv2d(3, width, 3, padding=1)
        for i in range(blocks):
            self.add_module(f"B{i + 1}", RLFB(width, mid, esa))
        self.LR_conv = nn.Conv2d(width, width, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        """The answer to `x`."""
        stem = self.fea_conv(x)
        h = stem
        for i in range(self.blocks):
            h = getattr(self, f"B{i + 1}")(h)
        return self.upsampler(self.LR_conv(h) + stem)


def twin(net) -> nn.Module:
    """The same network as `restore_jax.nets.rlfn.RLFN`, with weights of its own."""
    return RLFN(net.width, net.mid, net.esa, net.blocks, net.scale)
