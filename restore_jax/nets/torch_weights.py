"""From the names that PyTorch's nets give their weights to our nets and their parameters.

A net that can be imported says so in its own file, by functions that read a state dict as the net reads a picture,

    def _from_torch(w: Weights) -> tuple[dict, dict]:        # the net's spec, its parameters
        n = w.count("body.{}.conv.weight")
        return {"name": "nets.thing.Thing", "blocks": n}, {f"body_{i}": w.conv(f"body.{i}.conv") for i in range(n)}

    TORCH = (_from_torch,)                                   # one for each published arrangement of names

`Weights` remembers what was read and what was not there. A file is of an architecture where reading it with that
architecture's function leaves no tensor over and misses none: the converter is the detector, and nothing is used twice.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import restore_jax.nets

PREFIXES = ("params_ema.", "params.", "state_dict.", "model.", "module.", "generator.")
CANDIDATES = 3


class UnknownArchitecture(ValueError):
    """A state dict that no net here reads to the last tensor; the message names the nearest and what did not fit."""


class Unfit(LookupError):
    """A tensor whose shape decides what the net is, and which is not there: this is another architecture."""


class Weights:
    """A state dict that is read by name, each tensor once."""

    def __init__(self, state: Mapping[str, np.ndarray]):
        self._state = state
        self.used: set[str] = set()
        self.known: set[str] = set()  # those that were asked for and are there, read or not
        self.missing: set[str] = set()

    @property
    def left(self) -> set[str]:
        """The names that nobody has read yet."""
        return set(self._state) - self.used

    def __contains__(self, name: str) -> bool:
        self.known |= {name} & set(self._state)
        return name in self._state

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor that the net's size is read from.

        Raises:
            Unfit: there is none.
        """
        if name not in self._state:
            self.missing.add(name)
            raise Unfit(name)
        self.known.add(name)
        return self._state[name].shape

    def count(self, pattern: str) -> int:
        """How many of `pattern.format(0)`, `pattern.format(1)`, ... are there, up to the first that is not."""
        n = 0
        while pattern.format(n) in self:
            n += 1
        return n

    def array(self, name: str) -> np.ndarray:
        """The tensor in float32, as it is. One number, NaN, for a tensor that is missing: it will be said of all.

        Raises:
            Unfit: it has been read before.
        """
        if name not in self._state:
            self.missing.add(name)
            return np.full((1, 1, 1, 1), np.nan, np.float32)
        if name in self.used:
            raise Unfit(f"{name} is read twice")
        self.used.add(name)
        return np.asarray(self._state[name], np.float32)

    def ignore(self, *names: str) -> None:
        """Marks what has no place in our net: constants, counters, what training alone needs."""
        self.used |= {name for name in names if name in self._state}

    def conv(self, name: str, bias: bool | None = None) -> dict[str, np.ndarray]:
        """A convolution, grouped and depthwise too: kernel `(k, k, c_in / groups, c_out)`, and its bias if any."""
        kernel = self.array(f"{name}.weight")
        return {"kernel": _axes(kernel, 4).transpose(2, 3, 1, 0)} | self._bias(name, bias)

    def dense(self, name: str, bias: bool | None = None) -> dict[str, np.ndarray]:
        """A 1x1 convolution or a linear layer: kernel `(c_in, c_out)`, and its bias if it has one."""
        kernel = self.array(f"{name}.weight")
        return {"kernel": kernel.reshape(kernel.shape[:2]).T} | self._bias(name, bias)

    def norm(self, name: str) -> dict[str, np.ndarray]:
        """A normalisation: `scale` and `bias`, one a channel."""
        return {"scale": self.array(f"{name}.weight").reshape(-1), "bias": self.array(f"{name}.bias").reshape(-1)}

    def normed_conv(self, conv: str, norm: str, epsilon: float = 1e-5) -> dict[str, np.ndarray]:
        """A convolution with the batch normalisation after it folded in, as it acts at inference."""
        kernel = _axes(self.array(f"{conv}.weight"), 4).transpose(2, 3, 1, 0)
        scale = self.array(f"{norm}.weight") / np.sqrt(self.array(f"{norm}.running_var") + epsilon)
        shift = self.array(f"{norm}.bias") - self.array(f"{norm}.running_mean") * scale
        self.ignore(f"{norm}.num_batches_tracked")
        if f"{conv}.bias" in self:
            shift = shift + self.array(f"{conv}.bias") * scale
        return {"kernel": kernel * scale, "bias": shift}

    def _bias(self, name: str, bias: bool | None) -> dict[str, np.ndarray]:
        if bias is False or (bias is None and f"{name}.bias" not in self):
            return {}
        return {"bias": self.array(f"{name}.bias").reshape(-1)}


def _axes(a: np.ndarray, n: int) -> np.ndarray:
    return a.reshape(a.shape + (1,) * (n - a.ndim))


def shuffled(layer: Mapping[str, np.ndarray], r: int) -> dict[str, np.ndarray]:
    """The layer before PyTorch's pixel shuffle by `r`, made the layer before `layers.pixel_shuffle`.

    Output channels move from PyTorch's order, picture channel slowest, to ours, picture channel fastest.
    """

    def move(a: np.ndarray) -> np.ndarray:
        cells = a.reshape(*a.shape[:-1], a.shape[-1] // (r * r) if a.shape[-1] > 1 else 1, -1)
        return cells.swapaxes(-1, -2).reshape(a.shape)

    return {name: move(a) for name, a in layer.items()}


def unshuffled(layer: Mapping[str, np.ndarray], r: int) -> dict[str, np.ndarray]:
    """The layer after a pixel unshuffle by `r`, for ours: its input channels moved as `shuffled` moves outputs."""
    kernel = layer["kernel"]
    *front, c, d = kernel.shape
    cells = kernel.reshape(*front, max(c // (r * r), 1), -1, d).swapaxes(-2, -3)
    return {**layer, "kernel": cells.reshape(kernel.shape)}


def rescaled(
    layer: Mapping[str, np.ndarray], inputs: float | int = 1, outputs: float | int = 1
) -> dict[str, np.ndarray]:
    """The layer for inputs that are `inputs` times smaller than it was trained on, and outputs `outputs` times smaller.

    The first layer of a net for pictures in [0, 255] is `rescaled(layer, inputs=255)`, the last
    `rescaled(layer, outputs=255)`: exact up to rounding, zero padding included.
    """
    factors = {"kernel": inputs / outputs, "bias": 1.0 / outputs}
    return {name: a * np.float32(factors[name]) for name, a in layer.items()}


@dataclass(frozen=True)
class Recognised:
    """What a state dict turned out to be."""

    net: dict[str, Any]
    params: dict[str, Any]


Converter = Callable[[Weights], tuple[dict[str, Any], dict[str, Any]]]


@functools.cache
def converters() -> dict[str, Converter]:
    """Every way into a net, by the net's module and the function's name; found by their place, `nets/*.py: TORCH`."""
    found = {}
    for info in pkgutil.iter_modules(restore_jax.nets.__path__, "restore_jax.nets."):
        for convert in getattr(importlib.import_module(info.name), "TORCH", ()):
            found[f"{info.name.rpartition('.')[2]}.{convert.__name__.strip('_')}"] = convert
    return found


def stripped(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The net's own tensors: of a checkpoint those of the averaged weights, without what wraps their names."""
    return _stages(state)[-1]


def _stages(state: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The state as it is, and after each name around it is taken off: some nets have such a name of their own.

    Beside a net's weights a checkpoint has counters (numbers without axes), the optimiser, and the weights that were
    averaged: what lies under the first prefix of all is taken whatever is beside it.
    """
    stages = [dict(state)]
    for prefix in PREFIXES:
        inner = {name.removeprefix(prefix): a for name, a in state.items() if name.startswith(prefix)}
        others = [name for name, a in state.items() if not name.startswith(prefix) and np.ndim(a) > 0]
        if inner and (prefix == PREFIXES[0] or all(name.startswith("optim") for name in others)):
            return stages + _stages(inner)
    return stages


def recognise(state: Mapping[str, np.ndarray]) -> Recognised:
    """The net that reads every tensor of `state` once and misses none, and its parameters as it names them.

    Raises:
        UnknownArchitecture: there is none; it names the nearest, and which keys did not fit.
    """
    tried: dict[str, tuple[tuple[float, int], str]] = {}
    for stage in reversed(_stages(state)):
        for name, convert in converters().items():
            found, nearness, why = _read(convert, stage)
            if found is not None:
                return found
            tried[name] = max(tried.get(name, (nearness, why)), (nearness, why), key=lambda one: one[0])
    nearest = sorted(tried.items(), key=lambda one: one[1][0], reverse=True)[:CANDIDATES]
    lines = "".join(f"\n  {name}: knows {share:.0%} of the names; {why}" for name, ((share, _), why) in nearest)
    inner = stripped(state)
    raise UnknownArchitecture(f"no net here has these {len(inner)} tensors ({_some(sorted(inner))}). Nearest:{lines}")


def _read(convert: Converter, state: Mapping[str, np.ndarray]) -> tuple[Recognised | None, tuple[float, int], str]:
    """What one converter makes of the state; how near it came, and what did not fit.

    Near is first the share of the names that it knows, and then how few it missed.
    """
    w = Weights(state)
    problem = ""
    try:
        net, params = convert(w)
    except Unfit as error:
        w.missing |= {str(error.args[0])} - set(state)
        problem = "" if w.missing else f"; {error.args[0]}"
    except Exception as error:  # on tensors of another net a converter may fail in any way at all
        problem = f"; its shapes do not fit ({type(error).__name__}: {error})"
    else:
        if not w.left and not w.missing:
            return Recognised(net, params), (1.0, 0), ""
    why = f"missing {_some(sorted(w.missing))}; left over {_some(sorted(w.left))}{problem}"
    return None, (len(w.used | w.known) / max(1, len(state)), -len(w.missing)), why


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "none"
