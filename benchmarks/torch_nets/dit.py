"""DiT in PyTorch, as a PyTorch user would write it today, with the authors' names where they have them.

Reference: Peebles & Xie 2023, "Scalable Diffusion Models with Transformers", figure 3.
"""

import torch
from torch import nn
from torch.nn import functional

from benchmarks.torch_nets.condition import NoiseEmbedding


def sines(n: int, c: int):
    """[n, c]: of 0, 1, ..., n - 1, at c / 2 frequencies."""
    angles = torch.arange(n)[:, None] * 10000.0 ** -(torch.arange(c // 2) / (c // 2))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Constants(nn.Module):
    """What a linear layer is where there is nothing to read: its bias."""

    def __init__(self, n: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, x):
        """The bias."""
        return self.bias[None]


def modulation(net, parts: int) -> nn.Module:
    """`parts` numbers a channel."""
    n = parts * net.width
    return (
        nn.Sequential(nn.SiLU(), nn.Linear(net.embed, n)) if net.embed else nn.Sequential(nn.Identity(), Constants(n))
    )


class Attention(nn.Module):
    """Multi-head attention of all tokens."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x):
        """Tokens [b, t, c]."""
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    """Two linear layers and a GELU."""

    def __init__(self, c: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, hidden), nn.Linear(hidden, c)

    def forward(self, x):
        """Token by token."""
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """One block, its norms modulated."""

    def __init__(self, net):
        super().__init__()
        c = net.width
        self.norm1, self.norm2 = (nn.LayerNorm(c, elementwise_affine=False, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = Attention(c, net.heads), Mlp(c, int(c * net.mlp_ratio))
        self.adaLN_modulation = modulation(net, 6)

    def forward(self, x, embedding):
        """Tokens [b, t, c]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(embedding)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attn(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class FinalLayer(nn.Module):
    """The last norm, and tokens to the numbers of their patches."""

    def __init__(self, net):
        super().__init__()
        self.norm_final = nn.LayerNorm(net.width, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(net.width, net.patch**2 * net.out_channels)
        self.adaLN_modulation = modulation(net, 2)

    def forward(self, x, embedding):
        """Tokens [b, t, c]."""
        shift, scale = self.adaLN_modulation(embedding)[:, None].chunk(2, dim=-1)
        return self.linear(self.norm_final(x) * (1 + scale) + shift)


class DiT(nn.Module):
    """The net, for sides that the patch divides; the number of heads is among the weights, as no shape says it."""

    def __init__(self, net):
        super().__init__()
        self.patch = net.patch
        self.register_buffer("heads", torch.ones(net.heads))
        self.x_embedder = nn.Module()
        self.x_embedder.proj = nn.Conv2d(net.out_channels, net.width, net.patch, stride=net.patch)
        self.t_embedder = NoiseEmbedding(net.embed) if net.embed else None
        self.blocks = nn.ModuleList(Block(net) for _ in range(net.depth))
        self.final_layer = FinalLayer(net)

    def forward(self, x, c_noise=None):
        """The raw answer."""
        embedding = None if self.t_embedder is None else self.t_embedder(c_noise)
        h = self.x_embedder.proj(x)
        b, c, rows, columns = h.shape
        places = torch.cat(
            [
                sines(rows, c // 2).to(h)[:, None].expand(-1, columns, -1),
                sines(columns, c // 2).to(h)[None].expand(rows, -1, -1),
            ],
            dim=-1,
        )
        h = h.flatten(2).transpose(1, 2) + places.flatten(0, 1)
        for block in self.blocks:
            h = block(h, embedding)
        h = self.final_layer(h, embedding).view(b, rows, columns, self.patch, self.patch, -1)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(b, -1, rows * self.patch, columns * self.patch)


def twin(net) -> nn.Module:
    """The architecture of `restore_jax.nets.dit.DiT`."""
    return DiT(net)
