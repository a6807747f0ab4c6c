"""Fine-tuning with the 8 bits that a phone will compute in: a regression that learns with rounding inside.

    w' = step round(w / step),                          step = max |w| / 127, a step an output channel
    h' = step clip(round(h / step), -zero, 255 - zero), step = (high - low) / 255, zero = round(-low / step)

for every kernel w, and for every h that a convolution or a product reads or answers: the grids of TFLite's
"int8-static" (`export.quantize`), `low <= 0 <= high` the extremes of the batch as there they are those of photographs.
No parameter is added, so a run's tree is the plain net's: it starts from a run of `Regression` (`config.start`), and
leaves as the plain net whose kernels lie on the grid already.

The derivative of round is taken to be 1; then that of h' by its step is `round(h / step) - h / step`, as if the step
were learned, and reaches the numbers that set it.

Reference: Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", section 3; Esser et al. 2020, "Learned step size quantization", equation 3.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, PyTree, Restorer, Sampler, TrainState
from restore_jax.methods.adopt import adopt
from restore_jax.methods.regression import Regression
from restore_jax.nets.layers import PointwiseConv

ROUNDED = (nn.Conv, nn.Dense, PointwiseConv)


def straight_round(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`round(x)`, with the derivative of x."""
    return x + jax.lax.stop_gradient(jnp.round(x) - x)


def on_grid(kernel: Float[Array, "... d"], bits: int = 8) -> Float[Array, "... d"]:
    """A kernel in steps of its largest number an output over `2^(bits - 1) - 1`, as the exporter has it."""
    step = jnp.abs(kernel).max(tuple(range(kernel.ndim - 1)), keepdims=True) / (2 ** (bits - 1) - 1)
    step = jnp.where(step > 0, step, 1.0)
    return straight_round(kernel / step) * step


def in_levels(h: Float[Array, "..."], bits: int = 8) -> Float[Array, "..."]:
    """An array in `2^bits` levels between its extremes, zero among them."""
    low, high = jnp.minimum(h.min(), 0), jnp.maximum(h.max(), 0)
    step = jnp.where(high > low, (high - low) / (2**bits - 1), 1.0)
    zero = jax.lax.stop_gradient(jnp.round(-low / step))
    return jnp.clip(straight_round(h / step), -zero, 2**bits - 1 - zero) * step


def kernels_on_grid(params: PyTree, bits: int = 8) -> PyTree:
    """Parameters with every kernel on its grid; biases and all else as they are."""

    def rounded(path: Any, leaf: Array) -> Array:
        return on_grid(jnp.asarray(leaf), bits) if getattr(path[-1], "key", "") == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(rounded, params)


def rounding(bits: int = 8) -> Any:
    """A context in which convolutions and products read and answer arrays `in_levels`."""

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__" or not isinstance(context.module, ROUNDED):
            return call(*args, **kwargs)
        return in_levels(call(in_levels(args[0], bits), *args[1:], **kwargs), bits)

    return nn.intercept_methods(intercept)


@dataclass(frozen=True)
class FakeQuant(Regression):
    """A regression whose loss is that of the net in `bits` bits, and whose restorer is the net with rounded kernels.

    For nets of convolutions and activations, in their deployed form: a LayerNorm or a gate stays in float32 in a file,
    and here. An activation that the file computes inside a convolution (ReLU) is rounded after it there, before it
    here. It starts from a run of the form for training too, merged (`nets.ecbsr.merged`). What it costs is two passes
    over each array in memory.
    """

    bits: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise ValueError(f"FakeQuant.bits must be 2 to 16, not {self.bits}.")

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """That of `Regression`, the net in few bits."""
        with rounding(self.bits):
            return super().loss(kernels_on_grid(params, self.bits), state, obs, x, key)

    def restorer(self, params: PyTree, sampler: Sampler | None = None) -> Restorer:
        """The plain net with rounded kernels; what it reads and answers is rounded in the file only."""
        return super().restorer(kernels_on_grid(params, self.bits), sampler)

    def adopt(self, params: PyTree, theirs: Mapping[str, Any]) -> PyTree:
        """`theirs`, as one convolution where several were trained."""
        merged = getattr(sys.modules[type(self.net).__module__], "merged", None)
        return adopt(params, merged(theirs) if merged else theirs)


EXAMPLES: tuple[dict, ...] = (
    {
        "name": "methods.fake_quant.FakeQuant",
        "scale": 2,
        "net": {"name": "nets.ecbsr.ECBSR", "width": 8, "blocks": 1, "scale": 2, "deploy": True},
        "precondition": {"name": "diffusion.precondition.Direct"},
        "target": {"name": "targets.clean.Clean"},
        "metric": {"name": "metrics.pixel.Charbonnier"},
        "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
    },
)
