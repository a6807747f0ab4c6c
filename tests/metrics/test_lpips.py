"""LPIPS against the package of its authors, with random backbones and the trained heads, and what it refuses."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.metrics import lpips
from restore_jax.metrics.lpips import MISSING, Lpips
from restore_jax.nets.torch_file import TorchFileError
from tests.metrics.peers import nchw, peer, seeded

SIDES = {"alex": (35, 42), "squeeze": (25, 30), "vgg": (17, 24)}


@pytest.fixture(
    scope="module", params=["alex", *(pytest.param(net, marks=pytest.mark.soak) for net in ("squeeze", "vgg"))]
)
def both(request, tmp_path_factory):
    """Ours and theirs on one random backbone; theirs keeps the layers by torchvision's numbers, in slices."""
    torch, package = peer("torch"), peer("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision, for the way in which the package calls it
        theirs = package.LPIPS(net=request.param, pnet_rand=True, verbose=False)
    seeded(theirs.net)
    state = {f"features.{name.partition('.')[2]}": t for name, t in theirs.net.state_dict().items()}
    path = tmp_path_factory.mktemp("backbone") / f"{request.param}.pth"
    torch.save(state, path)
    return request.param, theirs, Lpips(str(path), request.param)


def pictures(net, seed, channels=3):
    return np.random.default_rng(seed).uniform(size=(2, *SIDES[net], channels)).astype(np.float32)


def test_equals_the_package(both):
    """Two float32 networks of up to 13 layers, each sum rounded in another order: 1e-4 of the distance at most."""
    net, theirs, ours = both
    a, b = pictures(net, 0), pictures(net, 1)
    expected = theirs(nchw(a), nchw(b), normalize=True).detach().numpy().reshape(-1)
    assert expected.min() > 1e-3
    a, b = jnp.asarray(a), jnp.asarray(b)
    np.testing.assert_allclose(ours(a, b), expected, rtol=1e-4)
    np.testing.assert_allclose(ours(b, a), expected, rtol=1e-4)
    np.testing.assert_array_equal(ours(a, a), 0.0)
    grey = jnp.mean(a, axis=-1, keepdims=True)
    np.testing.assert_array_equal(ours(grey, b[..., :1]), ours(jnp.repeat(grey, 3, -1), jnp.repeat(b[..., :1], 3, -1)))
    with pytest.raises(ValueError, match=rf"Lpips\.net = '{net}' needs sides of \d\d pixels or more"):
        ours(a[:, :15], b[:, :15])


def test_a_loss(both):
    """Finite at a picture without any feature in common, 0 where the two are equal."""
    net, _, ours = both
    if net == "vgg":
        pytest.skip("one backbone is enough, and VGG16's gradient takes long to compile")
    a, b = jnp.asarray(pictures(net, 0)), jnp.asarray(pictures(net, 1))
    slope = jax.jit(jax.grad(lambda x: ours(x, b).sum()))(a.at[1].set(b[1]))
    assert jnp.all(jnp.isfinite(slope))
    assert jnp.any(slope[0] != 0)
    np.testing.assert_allclose(slope[1], 0.0, atol=1e-6)


def test_files_of_another_net_are_refused(both, tmp_path):
    net, _, ours = both
    other = {"alex": "squeeze", "squeeze": "vgg", "vgg": "alex"}[net]
    with pytest.raises(TorchFileError, match=r"not .* features: missing \["):
        Lpips(ours.backbone, other).params()
    with pytest.raises(TorchFileError, match="not LPIPS's heads"):
        Lpips(ours.backbone, net, heads=ours.backbone).params()


def test_what_is_missing_is_said(monkeypatch):
    with pytest.raises(ValueError, match=r"Lpips\.net is one of alex, vgg, squeeze, not 'resnet'"):
        Lpips("weights.pth", net="resnet")
    with pytest.raises(TorchFileError, match=r"nowhere\.pth: no such file"):
        Lpips("nowhere.pth").params()
    monkeypatch.setattr(lpips.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[lpips\]"'):
        lpips.read_heads("alex")
    assert "Lpips.heads" in MISSING


def test_values_and_channels_are_refused():
    x = jnp.zeros((40, 40, 3))
    with pytest.raises(ValueError, match=r"Lpips measures pictures in .* Divide 8-bit ones by 255"):
        Lpips("weights.pth")(x + 255, x)
    with pytest.raises(ValueError, match="Lpips measures pictures of 1 or 3 channels, not of 4"):
        Lpips("weights.pth").distance({}, jnp.zeros((40, 40, 4)), jnp.zeros((40, 40, 4)))
