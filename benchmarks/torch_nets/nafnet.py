"""NAFNet in PyTorch, under the names of the published weights.

Reference: Chen et al. 2022, "Simple Baselines for Image Restoration", figure 3.
"""

from torch import nn, zeros

from benchmarks.torch_nets.condition import Film, LayerNorm2d, NoiseEmbedding


def gate(x):
    """The product of the two halves of the channels."""
    a, b = x.chunk(2, dim=1)
    return a * b


class Block(nn.Module):
    """One block of `c` channels; without attention, and with an embedding, where the net has it so."""

    def __init__(self, c: int, attention: bool, embed: int):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm2d(c), LayerNorm2d(c)
        self.conv1, self.conv2 = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1)) if attention else None
        self.conv3, self.conv4, self.conv5 = nn.Conv2d(c, c, 1), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1)
        self.beta, self.gamma = (nn.Parameter(zeros(1, c, 1, 1)) for _ in range(2))
        self.film1, self.film2 = (Film(embed, c) if embed else None for _ in range(2))

    def forward(self, x, embedding):
        """The same size, the same channels."""
        y = self.norm1(x)
        y = y if self.film1 is None else self.film1(y, embedding)
        y = gate(self.conv2(self.conv1(y)))
        y = y if self.sca is None else y * self.sca(y)
        x = x + self.beta * self.conv3(y)
        y = self.norm2(x)
        y = y if self.film2 is None else self.film2(y, embedding)
        return x + self.gamma * self.conv5(gate(self.conv4(y)))


class NAFNet(nn.Module):
    """The U of blocks, for sides that 2^levels divides."""

    def __init__(self, net):
        super().__init__()
        c = net.width
        self.intro = nn.Conv2d(net.out_channels, c, 3, padding=1)
        self.ending = nn.Conv2d(c, net.out_channels, 3, padding=1)
        self.residual = net.residual
        self.noise = NoiseEmbedding(net.embed) if net.embed else None
        self.encoders, self.downs, self.ups, self.decoders = (nn.ModuleList() for _ in range(4))

        def blocks(c, n):
            return nn.ModuleList(Block(c, net.attention, net.embed) for _ in range(n))

        for n in net.enc_blocks:
            self.encoders.append(blocks(c, n))
            self.downs.append(nn.Conv2d(c, 2 * c, 2, stride=2))
            c *= 2
        self.middle_blks = blocks(c, net.middle_blocks)
        for n in net.dec_blocks:
            self.ups.append(nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)))
            c //= 2
            self.decoders.append(blocks(c, n))

    def forward(self, x, c_noise=None):
        """The restored picture."""
        embedding = None if self.noise is None else self.noise(c_noise)

        def through(blocks, h):
            for block in blocks:
                h = block(h, embedding)
            return h

        h, skips = self.intro(x), []
        for encoder, down in zip(self.encoders, self.downs):
            h = through(encoder, h)
            skips.append(h)
            h = down(h)
        h = through(self.middle_blks, h)
        for up, decoder in zip(self.ups, self.decoders):
            h = through(decoder, up(h) + skips.pop())
        h = self.ending(h)
        return x + h if self.residual else h


def twin(net) -> nn.Module:
    """The architecture of `restore_jax.nets.nafnet.NAFNet`."""
    return NAFNet(net)
