"""SwinIR in PyTorch, under the names of the published weights.

Reference: Liang et al. 2021, "SwinIR: Image Restoration Using Swin Transformer", figure 2.
"""

import functools

import torch
from torch import nn
from torch.nn import functional

MEAN = (0.4488, 0.4371, 0.4040)


def windows_of(x, window: int):
    """Pictures [b, h, w, c] to windows [n, window^2, c]."""
    b, h, w, c = x.shape
    x = x.view(b, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, c)


def picture_of(windows, window: int, h: int, w: int):
    """Windows back to pictures."""
    x = windows.view(-1, h // window, w // window, window, window, windows.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, windows.shape[-1])


@functools.lru_cache(maxsize=8)
def mask_of(h: int, w: int, window: int, shift: int):
    """[windows, window^2, window^2]: -100 between pixels that the cyclic shift alone has made neighbours."""
    region, slices = torch.zeros(1, h, w, 1), (slice(-window), slice(-window, -shift), slice(-shift, None))
    for i, rows in enumerate(slices):
        for j, columns in enumerate(slices):
            region[:, rows, columns] = 3 * i + j
    region = windows_of(region, window).squeeze(-1)
    return (region[:, None] != region[:, :, None]).float() * -100.0


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, with a bias a displacement."""

    def __init__(self, c: int, window: int, heads: int):
        super().__init__()
        self.heads, self.scale = heads, (c // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        axis = torch.arange(window)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
        rows, columns = place[:, :, None] - place[:, None, :] + window - 1
        self.register_buffer("relative_position_index", rows * (2 * window - 1) + columns)
        self.qkv, self.proj = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x, mask):
        """Of windows [n, t, c]; the mask's pictures come one after the other."""
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()].view(t, t, -1).permute(2, 0, 1)
        scores = (q * self.scale) @ k.transpose(-2, -1) + bias
        if mask is not None:
            scores = scores.view(-1, mask.shape[0], self.heads, t, t) + mask[:, None]
            scores = scores.view(n, self.heads, t, t)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Mlp(nn.Module):
    """Two linear layers and a GELU."""

    def __init__(self, c: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, hidden), nn.Linear(hidden, c)

    def forward(self, x):
        """Pixel by pixel."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """One transformer block, of NHWC maps."""

    def __init__(self, net, shift: int):
        super().__init__()
        c, self.window, self.shift = net.width, net.window, shift
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.attn = WindowAttention(c, net.window, net.heads)
        self.mlp = Mlp(c, int(c * net.mlp_ratio))
        side = 8 * net.window  # of the pictures it is trained on
        self.register_buffer("attn_mask", mask_of(side, side, net.window, shift) if shift else None)

    def forward(self, x):
        """The same size, the same channels."""
        _, h, w, _ = x.shape
        y, mask = self.norm1(x), None
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
            mask = mask_of(h, w, self.window, self.shift).to(y)
        y = picture_of(self.attn(windows_of(y, self.window), mask), self.window, h, w)
        x = x + (torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y)
        return x + self.mlp(self.norm2(x))


class Stage(nn.Module):
    """Blocks, every other one shifted, and a convolution."""

    def __init__(self, net, depth: int):
        super().__init__()
        self.residual_group = nn.Module()
        self.residual_group.blocks = nn.ModuleList(Block(net, net.window // 2 if i % 2 else 0) for i in range(depth))
        self.conv = connection(net)

    def forward(self, x):
        """NCHW maps, the same size."""
        y = x.permute(0, 2, 3, 1)
        for block in self.residual_group.blocks:
            y = block(y)
        return x + self.conv(y.permute(0, 3, 1, 2))


def connection(net) -> nn.Module:
    """What ends a stage."""
    c = net.width
    if net.connection == "1conv":
        return nn.Conv2d(c, c, 3, padding=1)
    narrow = [nn.Conv2d(c, c // 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(c // 4, c // 4, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*narrow, nn.Conv2d(c // 4, c, 3, padding=1))


class SwinIR(nn.Module):
    """The net, for sides that the window divides; where the window has 7 pixels, pictures are in [0, 255] inside."""

    def __init__(self, net):
        super().__init__()
        c, n, self.upsampler, self.scale = net.width, net.features, net.upsampler, net.scale
        self.img_range = 255.0 if net.upsampler == "" and net.window == 7 else 1.0
        mean = MEAN if net.out_channels == 3 else (0.0,)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(net.out_channels, c, 3, padding=1)
        self.patch_embed = nn.Module()
        self.patch_embed.norm, self.norm = nn.LayerNorm(c), nn.LayerNorm(c)
        self.layers = nn.ModuleList(Stage(net, depth) for depth in net.depths)
        self.conv_after_body = connection(net)
        if net.upsampler == "pixelshuffledirect":
            up = nn.Conv2d(c, net.scale**2 * net.out_channels, 3, padding=1)
            self.upsample = nn.Sequential(up, nn.PixelShuffle(net.scale))
            return
        if net.upsampler:
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(c, n, 3, padding=1), nn.LeakyReLU())
        if net.upsampler == "pixelshuffle":
            layers = [[nn.Conv2d(n, r * r * n, 3, padding=1), nn.PixelShuffle(r)] for r in net.steps]
            self.upsample = nn.Sequential(*(layer for pair in layers for layer in pair))
        if net.upsampler == "nearest+conv":
            for i in range(1, len(net.steps) + 1):
                self.add_module(f"conv_up{i}", nn.Conv2d(n, n, 3, padding=1))
            self.conv_hr = nn.Conv2d(n, n, 3, padding=1)
        self.conv_last = nn.Conv2d(n if net.upsampler else c, net.out_channels, 3, padding=1)

    def features(self, x):
        """The stages, between two norms."""
        x = self.patch_embed.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def forward(self, x):
        """The restored picture."""
        x = (x - self.mean) * self.img_range
        h = self.conv_first(x)
        h = h + self.conv_after_body(self.features(h))
        if self.upsampler == "pixelshuffledirect":
            out = self.upsample(h)
        elif self.upsampler == "pixelshuffle":
            out = self.conv_last(self.upsample(self.conv_before_upsample(h)))
        elif self.upsampler == "nearest+conv":
            h = self.conv_before_upsample(h)
            for up in ("conv_up1", "conv_up2")[: 2 if self.scale == 4 else 1]:
                h = functional.interpolate(h, scale_factor=2, mode="nearest")
                h = functional.leaky_relu(getattr(self, up)(h), 0.2)
            out = self.conv_last(functional.leaky_relu(self.conv_hr(h), 0.2))
        else:
            out = x + self.conv_last(h)
        return out / self.img_range + self.mean


def twin(net) -> nn.Module:
    """The architecture of `restore_jax.nets.swinir.SwinIR`."""
    return SwinIR(net)
