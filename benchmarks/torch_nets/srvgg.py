"""SRVGGNetCompact with the names of Real-ESRGAN's weights."""

from typing import Any

import torch.nn.functional as f
from torch import nn


class TorchSrvgg(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.scale, width, channels = net.scale, net.width, net.out_channels
        self.body, c_in = nn.ModuleList(), channels
        for _ in range(net.convs + 1):
            self.body.extend([nn.Conv2d(c_in, width, 3, padding=1), nn.PReLU(width)])
            c_in = width
        self.body.append(nn.Conv2d(width, channels * net.scale**2, 3, padding=1))

    def forward(self, x):
        h = x
        for layer in self.body:
            h = layer(h)
        return f.pixel_shuffle(h, self.scale) + f.interpolate(x, scale_factor=self.scale, mode="nearest")


def twin(net: Any) -> nn.Module:
    return TorchSrvgg(net)
