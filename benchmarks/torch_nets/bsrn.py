"""BSRN and BSRN-S as a PyTorch user writes them, under the names of the published weights."""

import torch
from torch import nn
from torch.nn import functional


class Linear1x1(nn.Linear):
    """A linear layer on the channels: BSRN-S writes its 1x1 convolutions so."""

    def forward(self, x):
        """The answer to `x`."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pointwise(c_in: int, c_out: int, small: bool, bias: bool = True) -> nn.Module:
    """A 1x1 convolution; `small` writes a linear layer, with a bias always."""
    return Linear1x1(c_in, c_out) if small else nn.Conv2d(c_in, c_out, 1, bias=bias)


class BSConv(nn.Module):
    """A blueprint separable convolution: 1x1, then 3x3 depthwise."""

    def __init__(self, c_in: int, c_out: int, small: bool, stride: int = 1, padding: int = 1):
        super().__init__()
        self.pw = pointwise(c_in, c_out, small, bias=False)
        self.dw = nn.Conv2d(c_out, c_out, 3, stride=stride, padding=padding, groups=c_out)

    def forward(self, x):
        """The answer to `x`."""
        return self.dw(self.pw(x))


class ESA(nn.Module):
    """The attention with separable convolutions."""

    def __init__(self, channels: int, features: int, small: bool):
        super().__init__()
        self.conv1 = pointwise(channels, features, small)
        self.conv_f = pointwise(features, features, small)
        self.conv_max = BSConv(features, features, small)
        if small:
            self.conv2 = nn.Conv2d(features, features, 3, stride=2)
        else:
            self.conv2 = BSConv(features, features, small, stride=2, padding=0)
        self.conv3 = BSConv(features, features, small)
        self.conv3_ = BSConv(features, features, small)
        self.conv4 = pointwise(features, channels, small)

    def forward(self, x):
        """The answer to `x`."""
        reduced = self.conv1(x)
        coarse = functional.max_pool2d(self.conv2(reduced), 7, stride=3)
        coarse = functional.gelu(self.conv_max(coarse))
        coarse = self.conv3_(functional.gelu(self.conv3(coarse)))
        coarse = functional.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(coarse + self.conv_f(reduced)))


class CCA(nn.Module):
    """Contrast-aware channel attention: a gate from the standard deviation plus the mean of each channel."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x):
        """The answer to `x`."""
        var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        return x * self.conv_du(var.sqrt() + mean)


class ESDB(nn.Module):
    """The separable distillation block."""

    def __init__(self, width: int, esa: int, cca: int, small: bool):
        super().__init__()
        if small:
            self.cw = nn.Parameter(torch.ones(1, width))
        for i in (1, 2, 3):
            self.add_module(f"c{i}_d", pointwise(width, width // 2, small))
            self.add_module(f"c{i}_r", BSConv(width, width, small))
        self.c4 = BSConv(width, width // 2, small)
        self.c5 = pointwise(4 * (width // 2), width, small)
        self.esa = ESA(width, esa, small)
        if small:
            self.conv_out = pointwise(width, width, small)
        else:
            self.cca = CCA(width, cca)

    def forward(self, x):
        """The answer to `x`."""
        h, kept = x, []
        for i in (1, 2, 3):
            kept.append(functional.gelu(getattr(self, f"c{i}_d")(h)))
            h = functional.gelu(getattr(self, f"c{i}_r")(h) + h)
        kept.append(functional.gelu(self.c4(h)))
        y = self.esa(self.c5(torch.cat(kept, 1)))
        if hasattr(self, "cca"):
            return self.cca(y) + x
        return self.conv_out(y * self.cw[..., None, None]) + x


class BSRN(nn.Module):
    """The net; the small one with weights in place of channel attention."""

    def __init__(self, width: int, esa: int, cca: int, blocks: int, scale: int, small: bool):
        super().__init__()
        self.blocks = blocks
        self.fea_conv = BSConv(12, width, small)
        for i in range(blocks):
            self.add_module(f"B{i + 1}", ESDB(width, esa, cca, small))
        self.c1 = pointwise(blocks * width, width, small)
        self.c2 = BSConv(width, width, small)
        self.upsampler = nn.Module()
        self.upsampler.upsampleOneStep = nn.Sequential(
            nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )

    def forward(self, x):
        """The answer to `x`."""
        stem = self.fea_conv(torch.cat([x] * 4, 1))
        h, outs = stem, []
        for i in range(self.blocks):
            h = getattr(self, f"B{i + 1}")(h)
            outs.append(h)
        h = self.c2(functional.gelu(self.c1(torch.cat(outs, 1))))
        return self.upsampler.upsampleOneStep(h + stem)


def twin(net) -> nn.Module:
    """The same network as `restore_jax.nets.bsrn.BSRN`, with weights of its own."""
    return BSRN(net.width, net.esa, net.cca, net.blocks, net.scale, net.small)
