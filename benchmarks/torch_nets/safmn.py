"""SAFMN with the names of its authors, SAFMN++ with those of its entry to the challenge."""

from typing import Any

import torch
import torch.nn.functional as f
from torch import nn

from restore_jax.nets.safmn import POOL, SAFMN


class ChannelNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        x = f.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return x.permute(0, 3, 1, 2)


class Safm(nn.Module):
    def __init__(self, width: int, levels: int):
        super().__init__()
        part, self.levels = width // levels, levels
        self.mfr = nn.ModuleList(nn.Conv2d(part, part, 3, padding=1, groups=part) for _ in range(levels))
        self.aggr = nn.Conv2d(width, width, 1)

    def forward(self, x):
        size, found = x.shape[-2:], []
        for i, (part, conv) in enumerate(zip(x.chunk(self.levels, 1), self.mfr)):
            if i:
                pooled = f.adaptive_max_pool2d(part, (size[0] // 2**i, size[1] // 2**i))
                found.append(f.interpolate(conv(pooled), size=size, mode="nearest"))
            else:
                found.append(conv(part))
        return x * f.gelu(self.aggr(torch.cat(found, 1)))


class Ccm(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.ccm = nn.Sequential(nn.Conv2d(width, hidden, 3, padding=1), nn.GELU(), nn.Conv2d(hidden, width, 1))

    def forward(self, x):
        return self.ccm(x)


class Block(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(net.width), ChannelNorm(net.width)
        self.safm, self.ccm = Safm(net.width, net.levels), Ccm(net.width, net.hidden)

    def forward(self, x):
        x = x + self.safm(self.norm1(x))
        return x + self.ccm(self.norm2(x))


class TorchSafmn(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.to_feat = nn.Conv2d(net.out_channels, net.width, 3, padding=1)
        self.feats = nn.Sequential(*[Block(net) for _ in range(net.blocks)])
        last = nn.Conv2d(net.width, net.out_channels * net.scale**2, 3, padding=1)
        self.to_img = nn.Sequential(last, nn.PixelShuffle(net.scale))

    def forward(self, x):
        h = self.to_feat(x)
        return self.to_img(h + self.feats(h))


class PlusSafm(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        width, pooled = net.width, net.pooled
        self.sizes = [pooled, width - pooled]
        self.proj = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.dwconv = nn.Conv2d(pooled, pooled, 3, padding=1, groups=pooled, bias=False)
        self.out = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x):
        h, w = x.shape[-2:]
        a, b = torch.split(self.proj(x), self.sizes, 1)
        cells = self.dwconv(f.adaptive_max_pool2d(a, (h // POOL, w // POOL)))
        weight = f.gelu(f.interpolate(cells, size=(h, w), mode="bilinear", align_corners=False))
        return self.out(f.gelu(torch.cat([b, a * weight], 1)))


class PlusMix(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.conv1 = nn.Conv2d(net.width, net.hidden, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(net.hidden, net.width, 1, bias=False)

    def forward(self, x):
        return self.conv2(f.gelu(self.conv1(x)))


class PlusBlock(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.conv1, self.conv2 = PlusSafm(net), PlusMix(net)

    def forward(self, x):
        return x + self.conv2(self.conv1(x))


class TorchSafmnPlus(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.scale = net.scale
        self.to_feat = nn.Conv2d(net.out_channels, net.width, 3, padding=1, bias=False)
        self.feats = nn.Sequential(*[PlusBlock(net) for _ in range(net.blocks)])
        last = nn.Conv2d(net.width, net.out_channels * net.scale**2, 3, padding=1, bias=False)
        self.to_img = nn.Sequential(last, nn.PixelShuffle(net.scale))

    def forward(self, x):
        base = f.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return base + self.to_img(self.feats(self.to_feat(x)))


def twin(net: Any) -> nn.Module:
    return TorchSafmn(net) if isinstance(net, SAFMN) else TorchSafmnPlus(net)
