"""DnCNN as a PyTorch user writes it, under the names of the published weights, batch normalisation folded."""

from torch import nn


class DnCNN(nn.Module):
    def __init__(self, width: int, depth: int, channels: int):
        super().__init__()
        layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x):
        return x - self.model(x)


def twin(net) -> nn.Module:
    """`nets.dncnn.DnCNN` in PyTorch."""
    return DnCNN(net.width, net.depth, net.out_channels)
