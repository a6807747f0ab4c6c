"""The Core ML package says and, as far as NumPy can tell, does what the graph says and does."""

import logging
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

from restore_jax.export.coreml import describe, saved, to_coreml
from restore_jax.export.graph import ExportError, Graph, restorer_graph
from restore_jax.export.mil import CoreMLModel
from restore_jax.export.parity import parity

HEIGHT, WIDTH = 24, 16  # not square, so that a transposed axis shows
IMAGE = jax.ShapeDtypeStruct((1, HEIGHT, WIDTH, 3), jnp.float32)


# coremltools has strings that Python warns of when it compiles them, the first time after an installation.
pytestmark = pytest.mark.filterwarnings("ignore:.*invalid escape sequence")


@pytest.fixture(autouse=True)
def extra():
    for package in ["coremltools", "stablehlo_coreml"]:
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
    path = to_coreml(graph, tmp_path / "denoiser.mlpackage")
    described = describe(path)
    assert described["inputs"] == {"x_t": IMAGE.shape, "sigma": (1,)}
    assert described["outputs"] == {"denoised": IMAGE.shape}
    assert described["bytes"] < 1.05 * bytes_of(params) + 150_000  # the weights, and the text of the graph
    model = CoreMLModel(path)
    assert {"conv", "linear", "gelu", "sin", "cos", "reduce_mean", "transpose"} < set(model.ops)
    assert "batch_norm" not in model.ops
    result = parity(graph, model, {"x_t": photograph, "sigma": np.full(1, 0.3)}, runs=1)
    print(f"\n{result}, {described['bytes']} bytes")
    assert result.max_abs_diff < 2e-5  # 1e-5 is where an epsilon that should not be there would show


@pytest.mark.soak
def test_two_steps_share_their_weights(params, photograph, tmp_path):
    graph = restorer_graph(FewStep(params, (0.5, 0.1)), HEIGHT, WIDTH)
    path = to_coreml(graph, tmp_path / "restorer.mlpackage")
    noise_shape = (1, 2 * HEIGHT, 2 * WIDTH, 6)
    model = CoreMLModel(path)
    assert model.inputs == {"y": IMAGE.shape, "noise": noise_shape}
    assert model.outputs == {"x_hat": (1, 2 * HEIGHT, 2 * WIDTH, 3)}
    noise = np.random.default_rng(0).standard_normal(noise_shape)
    result = parity(graph, model, {"y": photograph, "noise": noise}, runs=1)
    print(f"\n{result}, {describe(path)['bytes']} bytes")
    assert result.max_abs_diff < 1e-4
    assert describe(path)["bytes"] < 1.05 * bytes_of(params) + 300_000


def test_metadata_travels_and_a_package_replaces_a_package(tmp_path):
    fields = {"author": "Ö", "short_description": "twice", "license": "Apache-2.0", "version": "2"}
    for extra in [{}, {"trained on": "photographs"}]:
        graph = Graph(lambda y: 2 * y, {"y": IMAGE}, metadata=fields | extra)
        path = to_coreml(graph, tmp_path / "a.mlpackage")
    metadata = saved(path).description.metadata
    shown = [metadata.author, metadata.shortDescription, metadata.license, metadata.versionString]
    assert shown == list(fields.values())
    assert metadata.userDefined["trained on"] == "photographs"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mlpackage"]


def test_names_that_the_converter_gave_to_others(tmp_path):
    graph = Graph(lambda b, a: a - 2 * b, {"a": IMAGE, "b": IMAGE}, output="c")
    model = CoreMLModel(to_coreml(graph, tmp_path / "a.mlpackage"))
    difference = model(a=np.full(IMAGE.shape, 1.0), b=np.full(IMAGE.shape, 3.0))
    np.testing.assert_array_equal(difference, np.full(IMAGE.shape, 1.0))  # b - 2 a by its own names: 3 - 2


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: y + jax.random.normal(jax.random.key(0), y.shape), "`random_bits` at .*as an input"),
        (lambda y: jnp.abs(jnp.fft.fft2(y, axes=(1, 2))), "`fft` at .*convolution"),
        (lambda y: y.reshape(1, 4, 6, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5), "Transpose one axis at a time"),
    ],
    ids=["random", "fourier", "six axes"],
)
def test_what_cannot_leave_is_named(function, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        to_coreml(Graph(function, {"y": IMAGE}), tmp_path / "a.mlpackage")
    assert list(tmp_path.iterdir()) == []


def test_it_is_quiet_and_leaves_the_logger_as_it_was(tmp_path, capfd):
    level = logging.getLogger("coremltools").level
    to_coreml(Graph(lambda y: 2 * y, {"y": IMAGE}), tmp_path / "a.mlpackage")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("coremltools").level == level


def test_the_name_must_be_a_package(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.mlpackage"):
        to_coreml(Graph(lambda y: 2 * y, {"y": IMAGE}), tmp_path / "a.mlmodel")


def test_without_the_extra_it_says_what_to_install(monkeypatch, tmp_path):
    for package in ["stablehlo_coreml", "coremltools.models.utils"]:
        monkeypatch.setitem(sys.modules, package, None)
    graph = Graph(lambda y: 2 * y, {"y": IMAGE})
    for attempt in [lambda: to_coreml(graph, tmp_path / "a.mlpackage"), lambda: describe(tmp_path)]:
        with pytest.raises(ImportError, match=r'pip install "restore-jax\[export\]"'):
            attempt()


def test_other_precisions_and_no_graph_are_refused(tmp_path):
    graph = Graph(lambda y: 2 * y, {"y": IMAGE})
    with pytest.raises(ValueError, match=r"precision must be one of fp32, .*palette8, not 'int4'"):
        to_coreml(graph, tmp_path / "a.mlpackage", precision="int4")
    with pytest.raises(ValueError, match="none was given"):
        to_coreml({}, tmp_path / "a.mlpackage")


@pytest.mark.soak
def test_images_in_and_out_of_a_package_of_two_sizes(photograph, tmp_path):
    """Functions share their weights, and what colour needs is inside: bytes in, bytes out."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.standard_normal((3, 3, 3, 64)), jnp.float32) / 8
    back = jnp.asarray(rng.standard_normal((3, 3, 64, 3)), jnp.float32) / 24

    def net(y):
        conv = lambda x, w: jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + conv(nn.relu(conv(y, weights)), back)

    small = Graph(net, {"y": IMAGE}, metadata={"version": "3", "y_description": "what to restore"})
    large = Graph(net, {"y": jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)})
    path = to_coreml({"small": small, "large": large}, tmp_path / "a.mlpackage", images=True)
    described = describe(path, "large")
    assert described["functions"] == ("small", "large")
    assert described["images"] == ("y", "x_hat")
    assert described["inputs"] == {"y": (1, 32, 32, 3)}
    assert saved(path).description.metadata.versionString == "3"
    assert saved(path).description.functions[0].input[0].shortDescription == "what to restore"
    assert described["bytes"] < weights.nbytes + back.nbytes + 60_000  # once
    picture = np.asarray(np.round(255 * photograph), np.uint8)
    output = CoreMLModel(path, "small")(y=picture)
    assert output.dtype == np.uint8
    expected = np.asarray(small.as_uint8()(y=picture))
    assert np.max(np.abs(output.astype(int) - expected)) <= 1  # half a level, rounded the other way
    with pytest.raises(ValueError, match="small, large"):
        describe(path, "medium")


def test_what_16_bits_cannot_hold_keeps_32(photograph, tmp_path):
    """A mean of numbers of 1e6, behind a reshape that no package names: alone in 16 bits it is infinite."""

    def function(y):
        large = (1e6 * (y + 0.1)).reshape(1, -1, y.shape[-1])
        return jnp.tanh(y) * (large / jnp.mean(large, axis=1, keepdims=True)).reshape(y.shape)

    graph = Graph(function, {"y": IMAGE})
    given = {"y": photograph}
    names = CoreMLModel(to_coreml(graph, tmp_path / "whole.mlpackage")).loud([given])
    assert names
    narrow = CoreMLModel(to_coreml(graph, tmp_path / "narrow.mlpackage", "fp16"))
    assert not np.isfinite(narrow(**given)).all()
    kept = CoreMLModel(to_coreml(graph, tmp_path / "kept.mlpackage", "fp16", names))
    assert parity(graph, kept, given, runs=1).psnr_db >= 55
    assert any(value.dtype == np.float16 for value in kept.values(**given))  # the rest has 16


@pytest.mark.soak
@pytest.mark.parametrize(("precision", "least_db"), [("fp16", 55), ("int8-weights", 42), ("palette8", 42)])
def test_fewer_bits(params, photograph, precision, least_db, tmp_path):
    inputs = {"x_t": IMAGE, "sigma": jax.ShapeDtypeStruct((1,), jnp.float32)}
    # What a restorer adds is a tenth of its picture. 8 bits of a matrix are a 127th of its largest number, four times
    # its deviation, so that each of ten layers is off by 1 %: 30 dB below what is added, 50 below the picture.
    graph = Graph(lambda x_t, sigma: x_t + 0.1 * UNet().apply(params, x_t, sigma), inputs, output="denoised")
    path = to_coreml(graph, tmp_path / "a.mlpackage", precision, keep_float32=("reduce_mean",))
    result = parity(graph, CoreMLModel(path), {"x_t": photograph, "sigma": np.full(1, 0.3)}, runs=1)
    assert result.psnr_db >= least_db
    share = {"fp16": 0.5}.get(precision, 0.25)
    assert describe(path)["bytes"] < 1.1 * share * bytes_of(params) + 150_000
