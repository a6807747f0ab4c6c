"""IMDN with the names of its authors."""

from typing import Any

import torch
from torch import nn


def conv3(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class Attention(nn.Module):
    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        down, up = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.conv_du = nn.Sequential(down, nn.ReLU(inplace=True), up, nn.Sigmoid())

    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        std = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * self.conv_du(std + mean)


class Block(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        width, d = net.width, net.distilled
        self.sizes = [d, width - d]
        self.c1, self.c2, self.c3 = conv3(width, width), conv3(width - d, width), conv3(width - d, width)
        self.c4, self.c5 = conv3(width - d, d), nn.Conv2d(4 * d, width, 1)
        self.act, self.cca = nn.LeakyReLU(0.05, inplace=True), Attention(4 * d, net.squeezed)

    def forward(self, x):
        kept, rest = [], x
        for conv in (self.c1, self.c2, self.c3):
            part, rest = torch.split(self.act(conv(rest)), self.sizes, 1)
            kept.append(part)
        return x + self.c5(self.cca(torch.cat([*kept, self.c4(rest)], 1)))


class TorchImdn(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        width, channels, self.n = net.width, net.out_channels, net.blocks
        self.fea_conv = conv3(channels, width)
        for i in range(self.n):
            setattr(self, f"IMDB{i + 1}", Block(net))
        self.c = nn.Sequential(nn.Conv2d(width * self.n, width, 1), nn.LeakyReLU(0.05, inplace=True))
        self.LR_conv = conv3(width, width)
        self.upsampler = nn.Sequential(conv3(width, channels * net.scale**2), nn.PixelShuffle(net.scale))

    def forward(self, x):
        first = h = self.fea_conv(x)
        found = []
        for i in range(self.n):
            h = getattr(self, f"IMDB{i + 1}")(h)
            found.append(h)
        return self.upsampler(first + self.LR_conv(self.c(torch.cat(found, 1))))


def twin(net: Any) -> nn.Module:
    return TorchImdn(net)
