"""ECBSR as a PyTorch user writes it, under the names of the published weights."""

import torch
from torch import nn
from torch.nn import functional

SOBEL = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
LAPLACE = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


class SeqConv3x3(nn.Module):
    """A 1x1 and a 3x3; where there is a mask, the 3x3 is that, times a number a channel."""

    def __init__(self, inputs: int, features: int, expand: int = 1, mask=None):
        super().__init__()
        inner = nn.Conv2d(inputs, expand * features, 1)
        self.k0, self.b0 = inner.weight, inner.bias
        self.features = features
        if mask is None:
            outer = nn.Conv2d(expand * features, features, 3)
            self.k1, self.b1 = outer.weight, outer.bias
        else:
            self.scale = nn.Parameter(1e-3 * torch.randn(features, 1, 1, 1))
            self.bias = nn.Parameter(1e-3 * torch.randn(features))
            self.mask = nn.Parameter(mask.expand(features, 1, 3, 3).clone(), requires_grad=False)

    def forward(self, x):
        h = functional.conv2d(functional.pad(x, (1, 1, 1, 1)), self.k0, self.b0)  # of zeros, it makes its bias
        if hasattr(self, "k1"):
            return functional.conv2d(h, self.k1, self.b1)
        return functional.conv2d(h, self.scale * self.mask, self.bias, groups=self.features)


class ECB(nn.Module):
    def __init__(self, inputs: int, features: int, expand: int, deploy: bool, active: bool = True):
        super().__init__()
        self.conv3x3 = nn.Conv2d(inputs, features, 3, padding=1)
        if not deploy:
            self.conv1x1_3x3 = SeqConv3x3(inputs, features, expand)
            self.conv1x1_sbx = SeqConv3x3(inputs, features, mask=SOBEL)
            self.conv1x1_sby = SeqConv3x3(inputs, features, mask=SOBEL.T)
            self.conv1x1_lpl = SeqConv3x3(inputs, features, mask=LAPLACE)
        if active:
            self.act = nn.PReLU(features)
        self.deploy, self.active = deploy, active

    def forward(self, x):
        out = self.conv3x3(x)
        if not self.deploy:
            out = out + self.conv1x1_3x3(x) + self.conv1x1_sbx(x) + self.conv1x1_sby(x) + self.conv1x1_lpl(x)
        return self.act(out) if self.active else out


class ECBSR(nn.Module):
    def __init__(self, net):
        super().__init__()
        form = net.expand, net.deploy
        blocks = [ECB(net.out_channels, net.width, *form)]
        blocks += [ECB(net.width, net.width, *form) for _ in range(net.blocks)]
        self.backbone = nn.Sequential(*blocks, ECB(net.width, net.out_channels * net.scale**2, *form, active=False))
        self.scale = net.scale

    def forward(self, x):
        base = torch.repeat_interleave(x, self.scale**2, 1)
        return functional.pixel_shuffle(self.backbone(x) + base, self.scale)


def twin(net) -> nn.Module:
    """`nets.ecbsr.ECBSR` in PyTorch."""
    return ECBSR(net)
