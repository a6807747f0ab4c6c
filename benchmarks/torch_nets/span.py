"""SPAN as a PyTorch user writes it, under the names of the published weights; pictures in [0, 1]."""

import torch
from torch import nn
from torch.nn import functional


class Conv3XC(nn.Module):
    """A 3x3 convolution, in training as four that are equal to one."""

    def __init__(self, inputs: int, features: int, gain: int, deploy: bool):
        super().__init__()
        if deploy:
            self.eval_conv = nn.Conv2d(inputs, features, 3, padding=1)
        else:
            self.sk = nn.Conv2d(inputs, features, 1)
            self.conv = nn.Sequential(
                nn.Conv2d(inputs, gain * inputs, 1),
                nn.Conv2d(gain * inputs, gain * features, 3),
                nn.Conv2d(gain * features, features, 1),
            )
        self.deploy = deploy

    def forward(self, x):
        if self.deploy:
            return self.eval_conv(x)
        return self.conv(functional.pad(x, (1, 1, 1, 1))) + self.sk(x)


class SPAB(nn.Module):
    def __init__(self, width: int, gain: int, deploy: bool):
        super().__init__()
        self.c1_r = Conv3XC(width, width, gain, deploy)
        self.c2_r = Conv3XC(width, width, gain, deploy)
        self.c3_r = Conv3XC(width, width, gain, deploy)
        self.act1 = nn.SiLU(inplace=True)

    def forward(self, x):
        inner = self.act1(self.c1_r(x))
        out = self.c3_r(self.act1(self.c2_r(inner)))
        return (out + x) * (torch.sigmoid(out) - 0.5), inner


class SPAN(nn.Module):
    def __init__(self, net):
        super().__init__()
        wide = net.gain, net.deploy
        self.blocks = net.blocks
        self.conv_1 = Conv3XC(net.out_channels, net.width, *wide)
        for i in range(net.blocks):
            self.add_module(f"block_{i + 1}", SPAB(net.width, *wide))
        self.conv_2 = Conv3XC(net.width, net.width, *wide)
        self.conv_cat = nn.Conv2d(4 * net.width, net.width, 1)
        upsample = nn.Conv2d(net.width, net.out_channels * net.scale**2, 3, padding=1)
        self.upsampler = nn.Sequential(upsample, nn.PixelShuffle(net.scale))
        self.folded = bool(net.mean)  # ours has mean and 255 in its first layer
        if net.mean:
            self.register_buffer("mean", torch.tensor(net.mean).reshape(1, -1, 1, 1), persistent=False)
        else:
            self.no_norm = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x):
        if not hasattr(self, "no_norm"):
            x = (x - self.mean) * 255
        first = self.conv_1(x)
        h, inner = self.block_1(first)
        one = h
        for i in range(1, self.blocks):
            h, inner = getattr(self, f"block_{i + 1}")(h)
        return self.upsampler(self.conv_cat(torch.cat([first, self.conv_2(h), one, inner], 1)))


def twin(net) -> nn.Module:
    """`nets.span.SPAN` in PyTorch."""
    return SPAN(net)
