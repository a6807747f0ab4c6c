"""DISTS against its formula in PyTorch, with a random VGG16, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.metrics import dists
from restore_jax.metrics.dists import CHANNELS, Dists, _unlike
from restore_jax.nets.torch_file import TorchFileError
from restore_jax.nets.vgg import MEAN, PLACES, STD
from tests.metrics.peers import nchw, peer


def in_torch(state, alpha, beta, a, b):
    """As the paper has it, from similarities, in float64."""
    torch = peer("torch")
    f = torch.nn.functional

    def features(x):
        found, c = [x], 3
        h = (x - torch.tensor(MEAN).double().view(1, 3, 1, 1)) / torch.tensor(STD).double().view(1, 3, 1, 1)
        for place in PLACES:
            if place in (5, 10, 17, 24):
                found.append(h)
                taps = torch.tensor([1.0, 2.0, 1.0]).double()
                kernel = (taps[:, None] * taps / 16).expand(c, 1, 3, 3)
                h = (f.conv2d(h**2, kernel, stride=2, padding=1, groups=c) + 1e-12).sqrt()
            weight, bias = (state[f"features.{place}.{part}"].double() for part in ("weight", "bias"))
            h, c = f.conv2d(h, weight, bias, padding=1).relu(), len(weight)
        return [*found, h]

    total, start = 1.0, 0
    for u, v in zip(features(a), features(b)):
        m, n = u.mean((2, 3)), v.mean((2, 3))
        cov = (u * v).mean((2, 3)) - m * n
        light = (2 * m * n + 1e-6) / (m**2 + n**2 + 1e-6)
        structure = (2 * cov + 1e-6) / (u.var((2, 3), correction=0) + v.var((2, 3), correction=0) + 1e-6)
        part = slice(start, start + u.shape[1])
        total = total - (alpha[part] * light + beta[part] * structure).sum(1) / (alpha.sum() + beta.sum())
        start += u.shape[1]
    return total.numpy()


@pytest.mark.soak
def test_equals_its_formula(tmp_path):
    """Float32 through 13 layers against float64: some 1e-5 of each feature's statistics, 1e-3 of a small distance."""
    torch = peer("torch")
    draw, state, before = torch.Generator().manual_seed(0), {}, 3
    widths = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    for place, width in zip(PLACES, widths):
        state[f"features.{place}.weight"] = torch.randn(width, before, 3, 3, generator=draw) * (2 / (9 * before)) ** 0.5
        state[f"features.{place}.bias"] = 0.05 * torch.randn(width, generator=draw)
        before = width
    weights = {name: torch.rand(1, sum(CHANNELS), 1, 1, generator=draw) for name in ("alpha", "beta")}
    torch.save(state, tmp_path / "vgg.pth")
    torch.save(weights, tmp_path / "dists.pth")
    rng = np.random.default_rng(0)
    a = rng.uniform(size=(2, 19, 24, 3)).astype(np.float32)
    b = np.clip(a + 0.2 * rng.normal(size=a.shape), 0, 1).astype(np.float32)
    flat = [weights[name].double().reshape(-1) for name in ("alpha", "beta")]
    expected = in_torch(state, *flat, nchw(a).double(), nchw(b).double())
    assert expected.min() > 1e-2
    metric = Dists(str(tmp_path / "vgg.pth"), str(tmp_path / "dists.pth"))
    np.testing.assert_allclose(metric(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-3)
    np.testing.assert_array_equal(metric(jnp.asarray(a), jnp.asarray(a)), 0.0)
    with pytest.raises(TorchFileError, match="not the weights of DISTS"):
        dists.read_weights(str(tmp_path / "vgg.pth"))


def test_two_channels_by_hand():
    """A flat one: `1 - l = (m - n)^2 / (m^2 + n^2 + c)`; a negative about one mean: `1 - s = 4 var / (2 var + c)`."""
    wave = jnp.asarray([1.0, -1.0] * 8).reshape(1, 4, 4, 1)
    means, structure = _unlike(0.5 + 0.1 * wave, 0.5 - 0.1 * wave)
    np.testing.assert_allclose(means, 0.0, atol=1e-7)
    np.testing.assert_allclose(structure, 0.04 / (0.02 + 1e-6), rtol=1e-5)
    means, structure = _unlike(jnp.full((1, 4, 4, 1), 0.5), jnp.full((1, 4, 4, 1), 0.25))
    np.testing.assert_allclose(means, 0.0625 / (0.3125 + 1e-6), rtol=1e-6)
    np.testing.assert_array_equal(structure, 0.0)


def test_the_trained_weights_are_found():
    peer("torchmetrics")
    alpha, beta = dists.read_weights()
    assert alpha.shape == beta.shape == (1475,)
    np.testing.assert_allclose(alpha.sum() + beta.sum(), 1.0, rtol=1e-5)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(dists.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"give Dists\.weights"):
        dists.read_weights()
    x = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match="Divide 8-bit ones by 255"):
        Dists("vgg.pth")(x + 255, x)
    with pytest.raises(ValueError, match="Dists measures pictures of 1 or 3 channels, not of 2"):
        Dists("vgg.pth").distance({}, x[..., :2], x[..., :2])
