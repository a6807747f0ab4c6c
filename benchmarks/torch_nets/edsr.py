"""EDSR with the names of its authors, MSRResNet with those of BasicSR; both for pictures in [0, 1]."""

from typing import Any

import torch
import torch.nn.functional as f
from torch import nn

from restore_jax.nets.edsr import EDSR, STEPS


def conv3(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class EdsrBlock(nn.Module):
    def __init__(self, width: int, res_scale: float):
        super().__init__()
        self.body = nn.Sequential(conv3(width, width), nn.ReLU(), conv3(width, width))
        self.res_scale = res_scale

    def forward(self, x):
        return x + self.res_scale * self.body(x)


class MeanShift(nn.Module):
    """A 1x1 convolution that is no parameter: the identity, and `mean` added `sign` times."""

    def __init__(self, mean: tuple[float, ...], sign: int):
        super().__init__()
        self.register_buffer("weight", torch.eye(len(mean))[:, :, None, None])
        self.register_buffer("bias", sign * torch.tensor(mean))

    def forward(self, x):
        return f.conv2d(x, self.weight, self.bias)


class TorchEdsr(nn.Module):
    def __init__(self, net: EDSR):
        super().__init__()
        channels, width, ups = net.out_channels, net.width, []
        self.sub_mean, self.add_mean = MeanShift(net.mean, -1), MeanShift(net.mean, 1)
        self.head = nn.Sequential(conv3(channels, width))
        blocks = [EdsrBlock(width, net.res_scale) for _ in range(net.blocks)]
        self.body = nn.Sequential(*blocks, conv3(width, width))
        for r in STEPS[net.scale]:
            ups += [conv3(width, width * r * r), nn.PixelShuffle(r)]
        self.tail = nn.Sequential(nn.Sequential(*ups), conv3(width, channels))

    def forward(self, x):
        h = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(h + self.body(h)))


class MsrBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = conv3(width, width), conv3(width, width)

    def forward(self, x):
        return x + self.conv2(f.relu(self.conv1(x)))


class TorchMsrResNet(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        width, self.scale, self.steps = net.width, net.scale, STEPS[net.scale]
        self.conv_first = conv3(net.out_channels, width)
        self.body = nn.Sequential(*[MsrBlock(width) for _ in range(net.blocks)])
        for i, r in enumerate(self.steps):
            setattr(self, f"upconv{i + 1}", conv3(width, width * r * r))
        self.conv_hr, self.conv_last = conv3(width, width), conv3(width, net.out_channels)

    def forward(self, x):
        h = self.body(f.leaky_relu(self.conv_first(x), 0.1))
        for i, r in enumerate(self.steps):
            h = f.leaky_relu(f.pixel_shuffle(getattr(self, f"upconv{i + 1}")(h), r), 0.1)
        out = self.conv_last(f.leaky_relu(self.conv_hr(h), 0.1))
        return out + f.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


def twin(net: Any) -> nn.Module:
    return TorchEdsr(net) if isinstance(net, EDSR) else TorchMsrResNet(net)
