"""The U-Net denoiser in PyTorch, as a PyTorch user would write it."""

import itertools

import torch
from torch import nn
from torch.nn import functional

from benchmarks.torch_nets.condition import Film, LayerNorm2d, NoiseEmbedding


class ResBlock(nn.Module):
    """`x + conv(silu(film(norm(conv(x)))))`."""

    def __init__(self, c: int, embed: int):
        super().__init__()
        self.conv_in, self.conv_out = (nn.Conv2d(c, c, 3, padding=1) for _ in range(2))
        self.norm = LayerNorm2d(c)
        self.film = Film(embed, c) if embed else None

    def forward(self, x, embedding):
        """The same size, the same channels."""
        h = self.norm(self.conv_in(x))
        h = h if self.film is None else self.film(h, embedding)
        return x + self.conv_out(functional.silu(h))


class UNet(nn.Module):
    """The U, for sides that `patch 2^(levels - 1)` divides; `patch`, which no shape tells, is among the weights."""

    def __init__(self, net):
        super().__init__()
        widths = [net.width * m for m in net.multipliers]
        channels = net.out_channels * net.patch**2
        self.register_buffer("patch", torch.tensor(net.patch))
        self.noise = NoiseEmbedding(net.embed) if net.embed else None
        self.until = NoiseEmbedding(net.embed) if net.until else None
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(net.patch), nn.PixelShuffle(net.patch)
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.head = nn.Conv2d(widths[0], channels, 3, padding=1)

        self.refine = None
        if net.refine:
            sides = (2 * net.out_channels, net.refine, net.refine, net.out_channels)
            layers = [nn.Conv2d(c, d, 3, padding=1) for c, d in itertools.pairwise(sides)]
            self.refine = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

        def blocks(c):
            return nn.ModuleList(ResBlock(c, net.embed) for _ in range(net.blocks))

        fine = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(blocks(w) for w in widths)
        self.up = nn.ModuleList(blocks(w) for w, _ in fine)
        self.reduce = nn.ModuleList(nn.Conv2d(w, coarse, 2, stride=2) for w, coarse in fine)
        self.expand = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, 4 * w, 1), nn.PixelShuffle(2)) for w, coarse in fine
        )
        self.join = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w, _ in fine)

    def forward(self, x, c_noise=None):
        """The raw output; `c_noise`, one number a picture, is the level jumped to as well."""
        embedding = None if self.noise is None else self.noise(c_noise)
        if self.until is not None:
            embedding = embedding + self.until(c_noise)

        def through(blocks, h):
            for block in blocks:
                h = block(h, embedding)
            return h

        h, skips = self.stem(self.unshuffle(x)), []
        for down, reduce in zip(self.down, self.reduce):
            h = through(down, h)
            skips.append(h)
            h = reduce(h)
        h = through(self.down[-1], h)
        for level in reversed(range(len(skips))):
            h = self.join[level](torch.cat([self.expand[level](h), skips[level]], dim=1))
            h = through(self.up[level], h)
        h = self.shuffle(self.head(functional.silu(h)))
        return h if self.refine is None else h + self.refine(torch.cat([x, h], dim=1))


def twin(net) -> nn.Module:
    """The architecture of `restore_jax.nets.unet.UNet`."""
    return UNet(net)
