"""FFDNet as a PyTorch user writes it, under the names of the published weights."""

import torch
from torch import nn
from torch.nn import functional


class FFDNet(nn.Module):
    def __init__(self, width: int, depth: int, channels: int):
        super().__init__()
        layers = [nn.Conv2d(4 * channels + 1, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 4 * channels, 3, padding=1))

    def forward(self, x, sigma):
        height, width = x.shape[-2:]
        x = functional.pixel_unshuffle(functional.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        level = sigma.reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[-2:])
        x = functional.pixel_shuffle(self.model(torch.cat([x, level], 1)), 2)
        return x[..., :height, :width]


def twin(net) -> nn.Module:
    """`nets.ffdnet.FFDNet` in PyTorch; called with the pictures and their noise levels."""
    return FFDNet(net.width, net.depth, net.out_channels)
