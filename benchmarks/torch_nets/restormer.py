"""Restormer in PyTorch, under the names of the published weights.

Reference: Zamir et al. 2022, "Restormer: Efficient Transformer for High-Resolution Image Restoration", figure 2.
"""

import torch
from torch import nn
from torch.nn import functional

from benchmarks.torch_nets.condition import Film, NoiseEmbedding


class WithBias(nn.Module):
    """LayerNorm over the channels of each pixel."""

    def __init__(self, c: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))

    def forward(self, x):
        """Of pixels in rows."""
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, 1e-5)


class BiasFree(nn.Module):
    """Divided by the deviation over the channels of each pixel; the mean stays."""

    def __init__(self, c: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(c))

    def forward(self, x):
        """Of pixels in rows."""
        return x * torch.rsqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5) * self.weight


class Norm(nn.Module):
    """Either norm, of NCHW maps; in channels_last memory both permutes are free."""

    def __init__(self, c: int, centred: bool):
        super().__init__()
        self.body = WithBias(c) if centred else BiasFree(c)

    def forward(self, x):
        """Pixel by pixel."""
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """MDTA: the channels of each head look at each other."""

    def __init__(self, c: int, heads: int, bias: bool):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(c, 3 * c, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * c, 3 * c, 3, padding=1, groups=3 * c, bias=bias)
        self.project_out = nn.Conv2d(c, c, 1, bias=bias)

    def forward(self, x):
        """The same size, the same channels."""
        b, c, h, w = x.shape
        heads = self.temperature.shape[0]
        q, k, v = (a.reshape(b, heads, c // heads, h * w) for a in self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1))
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        weights = (q @ k.transpose(-2, -1) * self.temperature).softmax(-1)
        return self.project_out((weights @ v).reshape(b, c, h, w))


class FeedForward(nn.Module):
    """GDFN: one half of the channels gates the other."""

    def __init__(self, c: int, hidden: int, bias: bool):
        super().__init__()
        self.project_in = nn.Conv2d(c, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, c, 1, bias=bias)

    def forward(self, x):
        """The same size, the same channels."""
        a, b = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(functional.gelu(a) * b)


class Block(nn.Module):
    """One transformer block of `c` channels."""

    def __init__(self, net, c: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = Norm(c, net.centred), Norm(c, net.centred)
        self.attn = Attention(c, heads, net.use_bias)
        self.ffn = FeedForward(c, int(c * net.expansion), net.use_bias)
        self.film1, self.film2 = (Film(net.embed, c) if net.embed else None for _ in range(2))

    def forward(self, x, embedding):
        """The same size, the same channels."""
        y = self.norm1(x)
        x = x + self.attn(y if self.film1 is None else self.film1(y, embedding))
        y = self.norm2(x)
        return x + self.ffn(y if self.film2 is None else self.film2(y, embedding))


class Named(nn.Module):
    """A child called `name`, so that the weights are found where the published ones are."""

    def __init__(self, name: str, module: nn.Module):
        super().__init__()
        self.child = name
        self.add_module(name, module)

    def forward(self, x):
        """What the child makes of it."""
        return getattr(self, self.child)(x)


class Restormer(nn.Module):
    """The U of blocks, for sides that 2^(levels - 1) divides."""

    def __init__(self, net):
        super().__init__()
        c, self.coarse = net.width, len(net.blocks) - 1

        def blocks(c, n, heads):
            return nn.ModuleList(Block(net, c, heads) for _ in range(n))

        def conv(c_in, c_out, shuffle):
            return Named("body", nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), shuffle))

        self.patch_embed = Named(
            "proj", nn.Conv2d((1 + net.dual_pixel) * net.out_channels, c, 3, padding=1, bias=False)
        )
        for n in range(1, self.coarse + 1):
            self.add_module(f"encoder_level{n}", blocks(c, net.blocks[n - 1], net.heads[n - 1]))
            self.add_module(f"down{n}_{n + 1}", conv(c, c // 2, nn.PixelUnshuffle(2)))
            c *= 2
        self.latent = blocks(c, net.blocks[-1], net.heads[-1])
        for n in range(self.coarse, 0, -1):
            self.add_module(f"up{n + 1}_{n}", conv(c, 2 * c, nn.PixelShuffle(2)))
            if n > 1:
                self.add_module(f"reduce_chan_level{n}", nn.Conv2d(c, c // 2, 1, bias=net.use_bias))
                c //= 2
            self.add_module(f"decoder_level{n}", blocks(c, net.blocks[n - 1], net.heads[n - 1]))
        self.refinement = blocks(c, net.refinement, net.heads[0])
        self.skip_conv = nn.Conv2d(net.width, c, 1, bias=net.use_bias) if net.dual_pixel else None
        self.output = nn.Conv2d(c, net.out_channels, 3, padding=1, bias=net.use_bias)
        self.noise = NoiseEmbedding(net.embed) if net.embed else None

    def forward(self, x, c_noise=None):
        """The restored picture."""
        embedding = None if self.noise is None else self.noise(c_noise)

        def through(blocks, h):
            for block in blocks:
                h = block(h, embedding)
            return h

        h = shallow = self.patch_embed(x)
        skips = []
        for n in range(1, self.coarse + 1):
            h = through(getattr(self, f"encoder_level{n}"), h)
            skips.append(h)
            h = getattr(self, f"down{n}_{n + 1}")(h)
        h = through(self.latent, h)
        for n in range(self.coarse, 0, -1):
            h = torch.cat([getattr(self, f"up{n + 1}_{n}")(h), skips.pop()], dim=1)
            h = getattr(self, f"reduce_chan_level{n}")(h) if n > 1 else h
            h = through(getattr(self, f"decoder_level{n}"), h)
        h = through(self.refinement, h)
        if self.skip_conv is not None:
            return self.output(h + self.skip_conv(shallow))
        return x + self.output(h)


def twin(net) -> nn.Module:
    """The architecture of `restore_jax.nets.restormer.Restormer`."""
    return Restormer(net)
