"""LKDN as a PyTorch user writes it, under the names of the published weights."""

import torch
from torch import nn
from torch.nn import functional


class BSConv(nn.Module):
    """A blueprint separable convolution: 1x1 without a bias, then 3x3 depthwise."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.pw = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.dw = nn.Conv2d(c_out, c_out, 3, padding=1, groups=c_out)

    def forward(self, x):
        """The answer to `x`."""
        return self.dw(self.pw(x))


class LargeKernelAttention(nn.Module):
    """A gate from 17x17 pixels around: 1x1, 5x5 depthwise, 5x5 depthwise of every third pixel."""

    def __init__(self, c: int):
        super().__init__()
        self.pointwise = nn.Conv2d(c, c, 1)
        self.depthwise = nn.Conv2d(c, c, 5, padding=2, groups=c)
        self.depthwise_dilated = nn.Conv2d(c, c, 5, padding=6, dilation=3, groups=c)

    def forward(self, x):
        """The answer to `x`."""
        return x * self.depthwise_dilated(self.depthwise(self.pointwise(x)))


class LKDB(nn.Module):
    """The large kernel distillation block."""

    def __init__(self, width: int):
        super().__init__()
        for i in (1, 2, 3):
            self.add_module(f"c{i}_d", nn.Conv2d(width, width // 2, 1))
            self.add_module(f"c{i}_r", BSConv(width, width))
        self.c4 = BSConv(width, width // 2)
        self.c5 = nn.Conv2d(4 * (width // 2), width, 1)
        self.atten = LargeKernelAttention(width)
        self.c6 = nn.Conv2d(width, width, 1)
        self.pixel_norm = nn.LayerNorm(width)

    def forward(self, x):
        """The answer to `x`."""
        h, kept = x, []
        for i in (1, 2, 3):
            kept.append(functional.gelu(getattr(self, f"c{i}_d")(h)))
            h = functional.gelu(getattr(self, f"c{i}_r")(h))
        kept.append(functional.gelu(self.c4(h)))
        y = self.c6(self.atten(self.c5(torch.cat(kept, 1))))
        return self.pixel_norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + x


class LKDN(nn.Module):
    """The net, its branches merged."""

    def __init__(self, width: int, blocks: int, scale: int):
        super().__init__()
        self.blocks = blocks
        self.fea_conv = BSConv(12, width)
        for i in range(blocks):
            self.add_module(f"B{i + 1}", LKDB(width))
        self.c1 = nn.Conv2d(blocks * width, width, 1)
        self.c2 = BSConv(width, width)
        self.upsampler = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        """The answer to `x`."""
        stem = self.fea_conv(torch.cat([x] * 4, 1))
        h, outs = stem, []
        for i in range(self.blocks):
            h = getattr(self, f"B{i + 1}")(h)
            outs.append(h)
        return self.upsampler(self.c2(functional.gelu(self.c1(torch.cat(outs, 1)))) + stem)


def twin(net) -> nn.Module:
    """The same network as `restore_jax.nets.lkdn.LKDN`, with weights of its own."""
    return LKDN(net.width, net.blocks, net.scale)
