"""CARN-M for one scale, with the names of its authors."""

from typing import Any

import torch
import torch.nn.functional as f
from torch import nn

from restore_jax.nets.edsr import STEPS


class MeanShift(nn.Module):
    """A 1x1 convolution that is no parameter: the identity, and `mean` added `sign` times."""

    def __init__(self, mean: tuple[float, ...], sign: int):
        super().__init__()
        self.shifter = nn.Module()
        self.shifter.register_buffer("weight", torch.eye(len(mean))[:, :, None, None])
        self.shifter.register_buffer("bias", sign * torch.tensor(mean))

    def forward(self, x):
        return f.conv2d(x, self.shifter.weight, self.shifter.bias)


class Unit(nn.Module):
    def __init__(self, width: int, groups: int):
        super().__init__()
        grouped = [nn.Conv2d(width, width, 3, padding=1, groups=groups) for _ in range(2)]
        self.body = nn.Sequential(grouped[0], nn.ReLU(), grouped[1], nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x):
        return f.relu(x + self.body(x))


class Join(nn.Module):
    def __init__(self, c_in: int, width: int):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(c_in, width, 1), nn.ReLU())

    def forward(self, found):
        return self.body(torch.cat(found, 1))


class Block(nn.Module):
    def __init__(self, width: int, groups: int):
        super().__init__()
        self.b1 = Unit(width, groups)
        self.c1, self.c2, self.c3 = (Join(k * width, width) for k in (2, 3, 4))

    def forward(self, x):
        h, found = x, [x]
        for join in (self.c1, self.c2, self.c3):
            found.append(self.b1(h))
            h = join(found)
        return h


class Ups(nn.Module):
    def __init__(self, width: int, groups: int, scale: int):
        super().__init__()
        layers = []
        for r in STEPS[scale]:
            layers += [nn.Conv2d(width, width * r * r, 3, padding=1, groups=groups), nn.ReLU(), nn.PixelShuffle(r)]
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x)


class TorchCarn(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        width, groups, channels = net.width, net.groups, net.out_channels
        self.sub_mean, self.add_mean = MeanShift(net.mean, -1), MeanShift(net.mean, 1)
        self.entry = nn.Conv2d(channels, width, 3, padding=1)
        self.b1, self.b2, self.b3 = (Block(width, groups) for _ in range(3))
        self.c1, self.c2, self.c3 = (Join(k * width, width) for k in (2, 3, 4))
        self.scale, self.upsample = net.scale, nn.Module()
        setattr(self.upsample, f"up{net.scale}", Ups(width, groups, net.scale))
        self.exit = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x):
        h = self.entry(self.sub_mean(x))
        found = [h]
        for block, join in ((self.b1, self.c1), (self.b2, self.c2), (self.b3, self.c3)):
            found.append(block(h))
            h = join(found)
        return self.add_mean(self.exit(getattr(self.upsample, f"up{self.scale}")(h)))


def twin(net: Any) -> nn.Module:
    return TorchCarn(net)
