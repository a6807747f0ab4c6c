"""RFDN as a PyTorch user writes it, under the names of the published weights; pictures in [0, 255]."""

import torch
from torch import nn
from torch.nn import functional


class ESA(nn.Module):
    """The attention with three convolutions after the pool."""

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, features, 1)
        self.conv_f = nn.Conv2d(features, features, 1)
        self.conv_max = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, stride=2)
        self.conv3 = nn.Conv2d(features, features, 3, padding=1)
        self.conv3_ = nn.Conv2d(features, features, 3, padding=1)
        self.conv4 = nn.Conv2d(features, channels, 1)

    def forward(self, x):
        """The answer to `x`."""
        reduced = self.conv1(x)
        coarse = functional.max_pool2d(self.conv2(reduced), 7, stride=3)
        coarse = functional.relu(self.conv_max(coarse))
        coarse = self.conv3_(functional.relu(self.conv3(coarse)))
        coarse = functional.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(coarse + self.conv_f(reduced)))


class RFDB(nn.Module):
    """Four depths, half the channels kept of each, fused and gated."""

    def __init__(self, width: int, esa: int):
        super().__init__()
        for i in (1, 2, 3):
            self.add_module(f"c{i}_d", nn.Conv2d(width, width // 2, 1))
            self.add_module(f"c{i}_r", nn.Conv2d(width, width, 3, padding=1))
        self.c4 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.c5 = nn.Conv2d(4 * (width // 2), width, 1)
        self.esa = ESA(width, esa)
        self.act = nn.LeakyReLU(0.05, inplace=True)

    def forward(self, x):
        """The answer to `x`."""
        kept = []
        for i in (1, 2, 3):
            kept.append(self.act(getattr(self, f"c{i}_d")(x)))
            x = self.act(getattr(self, f"c{i}_r")(x) + x)
        kept.append(self.act(self.c4(x)))
        return self.esa(self.c5(torch.cat(kept, 1)))


class RFDN(nn.Module):
    """Pictures in [0, 255]."""

    data_range = 255.0  # of a white pixel, to the published weights

    def __init__(self, width: int, esa: int, blocks: int, scale: int):
        super().__init__()
        self.blocks = blocks
        self.fea_conv = nn.Conv2d(3, width, 3, padding=1)
        for i in range(blocks):
            self.add_module(f"B{i + 1}", RFDB(width, esa))
        self.c = nn.Sequential(nn.Conv2d(blocks * width, width, 1), nn.LeakyReLU(0.05, inplace=True))
        self.LR_conv = nn.Conv2d(width, width, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        """The answer to `x`."""
        stem = self.fea_conv(x)
        h, outs = stem, []
        for i in range(self.blocks):
            h = getattr(self, f"B{i + 1}")(h)
            outs.append(h)
        return self.upsampler(self.LR_conv(self.c(torch.cat(outs, 1))) + stem)


def twin(net) -> nn.Module:
    """The same network as `restore_jax.nets.rfdn.RFDN`, with weights of its own."""
    return RFDN(net.width, net.esa, net.blocks, net.scale)
