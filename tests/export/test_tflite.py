"""The TFLite file says and does what the graph says and does."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from restore_jax.export.graph import ExportError, Graph, restorer_graph
from restore_jax.export.parity import parity
from restore_jax.export.tflite import TFLiteModel, metadata, ops, to_tflite
from restore_jax.nets.attention import pooled
from restore_jax.nets.nafnet import NAFNet

HEIGHT, WIDTH = 24, 16  # not square, so that a transposed axis shows
IMAGE = jax.ShapeDtypeStruct((1, HEIGHT, WIDTH, 3), jnp.float32)


@pytest.fixture(autouse=True)
def extra():
    for package in ["litert_converter", "ai_edge_litert"]:
        pytest.importorskip(package, reason='needs pip install "restore-jax[export]"')


# A U-Net of two levels with each kind of layer that restoration uses, in the form that exports.


class Block(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, scale):
        dense = lambda x, width: nn.Dense(width)(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], width)
        h = nn.LayerNorm(use_fast_variance=False)(x) * (1 + scale[:, None, None])
        h = dense(h, 2 * self.width)
        taps = self.param("taps", nn.initializers.normal(0.3), (3, 3, 2 * self.width))
        padded = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = lambda i, j: padded[:, i : i + h.shape[1], j : j + h.shape[2]]
        h = sum(taps[None, None, None, i, j] * shifted(i, j) for i in range(3) for j in range(3))
        a, b = jnp.split(h, 2, axis=-1)
        h = nn.gelu(a) * nn.sigmoid(b)
        h = h * nn.Dense(self.width)(h.mean(axis=(1, 2)))[:, None, None]
        return x + dense(h, self.width)


def shuffle(x, r):
    """`b h w (r r c) -> b (h r) (w r) c`, height and then width: five axes at most."""
    b, h, w, _ = x.shape
    x = x.reshape(b * h, w, r, -1).swapaxes(1, 2).reshape(b, h * r, w, -1)
    return x.reshape(b, h * r, w * r, -1)


class UNet(nn.Module):
    width: int = 32

    @nn.compact
    def __call__(self, x, sigma):
        angle = jnp.log(sigma)[:, None] * jnp.asarray([[0.25, 1.0, 4.0, 16.0]])
        scale = nn.Dense(2 * self.width)(nn.silu(jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)))
        edged = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        skip = nn.Conv(self.width, (3, 3), padding="VALID")(edged)
        h = nn.Conv(2 * self.width, (2, 2), strides=(2, 2))(skip)
        h = Block(2 * self.width)(h, scale)
        h = shuffle(nn.Conv(4 * self.width, (3, 3))(h), 2)
        return x + nn.Conv(3, (3, 3))(h + skip) + x.mean(axis=-1, keepdims=True)


def linear(n):
    """`2n n`: linear interpolation to twice the size."""
    at = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
    return jnp.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n))), jnp.float32)


@dataclass(frozen=True)
class FewStep:
    """Noise and denoise, once for each sigma, starting from `y` at twice its size."""

    params: Any
    sigmas: tuple[float, ...]
    scale: int = 2

    @property
    def draws(self):
        return len(self.sigmas)

    def __call__(self, key, obs):
        _, h, w, _ = obs.y.shape
        x = jnp.einsum("ph,bhwc->bpwc", linear(h), obs.y)
        x = jnp.einsum("qw,bpwc->bpqc", linear(w), x)
        for k, sigma in enumerate(self.sigmas):
            x_t = x + sigma * obs.cond["noise"][..., 3 * k : 3 * k + 3]
            x = UNet().apply(self.params, x_t, jnp.full(x.shape[:1], sigma))
        return x


@pytest.fixture(scope="module")
def params():
    shapes = jax.eval_shape(UNet().init, jax.random.key(0), IMAGE, jax.ShapeDtypeStruct((1,), jnp.float32))
    rng = np.random.default_rng(0)
    gain = lambda shape: 1 / math.sqrt(math.prod(shape[:-1]))  # 1 for biases: no zeros to hide behind
    return jax.tree.map(lambda p: jnp.float32(gain(p.shape) * rng.standard_normal(p.shape)), shapes)


@pytest.fixture(scope="module")
def photograph():
    return load_sample_image("china.jpg")[None, 180 : 180 + HEIGHT, 320 : 320 + WIDTH].astype(np.float32) / 255


def bytes_of(params):
    return 4 * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def test_a_denoiser_with_sigma_as_an_input(params, photograph, tmp_path):
    inputs = {"x_t": IMAGE, "sigma": jax.ShapeDtypeStruct((1,), jnp.float32)}
    graph = Graph(lambda x_t, sigma: UNet().apply(params, x_t, sigma), inputs, output="denoised")
    path = to_tflite(graph, tmp_path / "denoiser.tflite")
    model = TFLiteModel(path)
    assert model.inputs == {"x_t": IMAGE.shape, "sigma": (1,)}
    assert model.outputs == {"denoised": IMAGE.shape}
    for sigma in [0.02, 0.5]:
        result = parity(graph, model, {"x_t": photograph, "sigma": np.full(1, sigma)}, runs=1)
        print(f"\nsigma {sigma}: {result}")
        assert result.max_abs_diff < 1e-4
    assert {"CONV_2D", "FULLY_CONNECTED", "GELU", "LOGISTIC", "SIN", "COS", "MEAN"} < set(ops(path))
    assert path.stat().st_size < 1.05 * bytes_of(params) + 30_000  # the weights, and the text of the graph


def test_a_nafnet_leaves_as_convolutions_with_constant_kernels(photograph, tmp_path):
    net = NAFNet(width=4, enc_blocks=(1,), dec_blocks=(1,))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), IMAGE)
    params = jax.tree.map(lambda p: jnp.float32(0.3 * rng.standard_normal(p.shape)), shapes)
    function = lambda x: net.apply(params, x)
    jax.jit(function)(photograph)  # traced before, in the form for this machine
    graph = Graph(function, {"x": IMAGE})
    path = to_tflite(graph, tmp_path / "nafnet.tflite")
    assert parity(graph, TFLiteModel(path), {"x": photograph}, runs=1).max_abs_diff < 1e-4
    assert "DEPTHWISE_CONV_2D" in ops(path)
    assert not {"BATCH_MATMUL", "IF", "WHILE", "PAD"} & set(ops(path))


def test_the_mean_of_a_flat_picture_is_not_summed_in_one_go(tmp_path):
    """16384 equal numbers added up one by one are off by hundreds of roundings; means of means by tens."""
    flat = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
    picture = np.full(flat.shape, 0.7, np.float32)
    off = []
    for mean in (pooled, lambda y: y.mean((1, 2), keepdims=True)):
        model = TFLiteModel(to_tflite(Graph(mean, {"y": flat}), tmp_path / "a.tflite"))
        off.append(float(np.abs(model(y=picture) - picture[0, 0, 0]).max()))
    assert off[0] < 1e-6 < 1e-5 < off[1]


def test_one_and_two_steps_share_their_weights(params, photograph, tmp_path):
    for sigmas in [(0.5,), (0.5, 0.1)]:
        graph = restorer_graph(FewStep(params, sigmas), HEIGHT, WIDTH)
        path = to_tflite(graph, tmp_path / "restorer.tflite")  # over the file that is there
        model = TFLiteModel(path, threads=1)
        noise_shape = (1, 2 * HEIGHT, 2 * WIDTH, 3 * len(sigmas))
        assert model.inputs == {"y": IMAGE.shape, "noise": noise_shape}
        assert model.outputs == {"x_hat": (1, 2 * HEIGHT, 2 * WIDTH, 3)}
        noise = np.random.default_rng(0).standard_normal(noise_shape)
        result = parity(graph, model, {"y": photograph, "noise": noise}, runs=1)
        print(f"\n{len(sigmas)} steps: {result}, {path.stat().st_size} bytes")
        assert result.max_abs_diff < 1e-4
        assert not [name for name in ops(path) if name.startswith(("CUSTOM", "STABLEHLO"))]
        assert path.stat().st_size < 1.05 * bytes_of(params) + 30_000 * len(sigmas)
    assert [file.name for file in tmp_path.iterdir()] == ["restorer.tflite"]


def test_metadata_travels(tmp_path):
    graph = Graph(lambda y: 2 * y, {"y": IMAGE}, metadata={"author": "Ö", "trained on": "photographs"})
    assert graph.metadata.items() <= metadata(to_tflite(graph, tmp_path / "a.tflite")).items()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: jax.lax.fori_loop(0, 3, lambda _, x: jnp.sin(x), y), r"`scan` at .*test_tflite.*unroll"),
        (lambda y: y + jax.random.normal(jax.random.key(0), y.shape), "`random_bits` at .*as an input"),
        (lambda y: jnp.abs(jnp.fft.fft2(y, axes=(1, 2))), "`fft` at .*convolution"),
        (lambda y: (y.astype(jnp.bfloat16) * 2).astype(jnp.float32), "`bfloat16` at .*float32"),
        (lambda y: jax.pure_callback(lambda x: x, IMAGE, y), "`pure_callback` at .*remove it"),
        (lambda y: y.mean((1, 2), keepdims=True) @ jnp.ones((1, 1, 3, 3)) + 1, "batch_matmul"),
    ],
    ids=["loop", "random", "fourier", "bfloat16", "callback", "pooled"],
)
def test_what_cannot_leave_is_named(function, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        to_tflite(Graph(function, {"y": IMAGE}), tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


def test_the_model_refuses_other_names_and_shapes(tmp_path):
    model = TFLiteModel(to_tflite(Graph(lambda y: 2 * y, {"y": IMAGE}), tmp_path / "a.tflite"))
    for arrays in [{"x": np.ones(IMAGE.shape)}, {"y": np.ones((1, 8, 8, 3))}, {}]:
        with pytest.raises(ValueError, match="The file takes"):
            model(**arrays)


def test_without_the_extra_it_says_what_to_install(monkeypatch, tmp_path):
    graph = Graph(lambda y: 2 * y, {"y": IMAGE})
    path = to_tflite(graph, tmp_path / "a.tflite")
    for package in ["litert_converter.mlir", "ai_edge_litert.interpreter", "ai_edge_litert.schema_py_generated"]:
        monkeypatch.setitem(sys.modules, package, None)
    for attempt in [lambda: to_tflite(graph, path), lambda: TFLiteModel(path), lambda: ops(path)]:
        with pytest.raises(ImportError, match=r'pip install "restore-jax\[export\]"'):
            attempt()
