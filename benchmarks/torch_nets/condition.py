"""What a network hears of the noise level, in PyTorch: the twin of `restore_jax.nets.condition`, and LayerNorm."""

import torch
from torch import nn
from torch.nn import functional


class NoiseEmbedding(nn.Sequential):
    """`Linear(silu(Linear(sinusoids(c_noise))))`, `features` numbers a picture."""

    def __init__(self, features: int, frequencies: int = 32):
        super().__init__(nn.Linear(2 * frequencies, features), nn.SiLU(), nn.Linear(features, features))
        ramp = torch.linspace(0, 1, frequencies)
        self.register_buffer("omega", 0.25 * (16 / 0.25) ** ramp, persistent=False)

    def forward(self, c_noise):
        """From one number a picture."""
        angle = c_noise[:, None] * self.omega
        return super().forward(torch.cat([angle.cos(), angle.sin()], dim=1))


class Film(nn.Linear):
    """`x * (1 + scale) + shift`, both a linear function of the embedding's silu."""

    def __init__(self, embed: int, channels: int):
        super().__init__(embed, 2 * channels)

    def forward(self, x, embedding):
        """The feature maps `x`, picture by picture."""
        scale, shift = super().forward(functional.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of NCHW maps; in channels_last memory both permutes are free."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, x):
        """Every pixel to zero mean and unit variance over its channels, then scaled and shifted."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
