"""RRDBNet with the names of BasicSR."""

from typing import Any

import torch
import torch.nn.functional as f
from torch import nn


def conv3(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class Dense(nn.Module):
    def __init__(self, width: int, growth: int):
        super().__init__()
        for k in range(1, 6):
            setattr(self, f"conv{k}", conv3(width + (k - 1) * growth, growth if k < 5 else width))
        self.act = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x):
        found = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            found.append(self.act(conv(torch.cat(found, 1))))
        return x + 0.2 * self.conv5(torch.cat(found, 1))


class Block(nn.Module):
    def __init__(self, width: int, growth: int):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x):
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class TorchRrdb(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        width, channels, self.cell = net.width, net.out_channels, 4 // net.scale
        self.conv_first = conv3(channels * self.cell**2, width)
        self.body = nn.Sequential(*[Block(width, net.growth) for _ in range(net.blocks)])
        self.conv_body, self.conv_up1, self.conv_up2 = conv3(width, width), conv3(width, width), conv3(width, width)
        self.conv_hr, self.conv_last = conv3(width, width), conv3(width, channels)
        self.act = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x):
        h = self.conv_first(f.pixel_unshuffle(x, self.cell) if self.cell > 1 else x)
        h = h + self.conv_body(self.body(h))
        for conv in (self.conv_up1, self.conv_up2):
            h = self.act(conv(f.interpolate(h, scale_factor=2, mode="nearest")))
        return self.conv_last(self.act(self.conv_hr(h)))


def twin(net: Any) -> nn.Module:
    return TorchRrdb(net)
