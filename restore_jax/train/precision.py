"""Precision and memory of a method's loss: what is computed in bfloat16, and what is computed twice.

    loss = Precision("bfloat16", keep=("*norm*",)).on(method).loss
    with rematerialised("full"): loss(params, ...)

Both act on networks as they are called, from outside: no network knows of them. Parameters, averages, the optimiser,
losses and metrics are float32 throughout.
"""

import contextlib
import dataclasses
import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Keys, Method, Observation, PyTree, Restorer, TrainState

COMPUTE = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
MATMUL = ("default", "high", "highest")
POLICIES: dict[str, Callable[..., Any]] = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
}


@dataclass(frozen=True)
class Precision:
    """In what precision a method's networks compute while they are trained.

        compute   "float32", or "bfloat16": activations, and parameters as they are multiplied (8 bits of mantissa)
        matmul    "default", "high" or "highest": of float32 products on hardware that rounds their factors
                  (TPU: bfloat16, NVIDIA: TF32); "highest" is true float32, and a CPU always is
        keep      patterns of module paths ("*norm*", "ending", "enc0_*") that compute in float32 all the same

    bfloat16 has the range of float32: gradients need no scaling. Matched modules get float32 inputs and answer float32;
    what follows them rounds again.

    Raises:
        ValueError: an unknown name; `keep` without bfloat16.

    Reference: Micikevicius et al. 2018, "Mixed precision training", section 3.1 (float32 master weights).
    """

    compute: str = "float32"
    matmul: str = "default"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.compute not in COMPUTE:
            raise ValueError(f"Precision.compute must be one of {', '.join(COMPUTE)}, not {self.compute!r}.")
        if self.matmul not in MATMUL:
            raise ValueError(f"Precision.matmul must be one of {', '.join(MATMUL)}, not {self.matmul!r}.")
        if self.keep and self.compute == "float32":
            raise ValueError(f"Precision.keep must be () where compute is float32, not {self.keep}: all is kept then.")

    def on(self, method: Method) -> Method:
        """The method with its loss in this precision; `init` and `restorer` are its own, in float32.

        Raises:
            ValueError: bfloat16 for a method none of whose networks has a `dtype`.
        """
        if self == Precision():
            return method
        lowered = method
        if self.compute != "float32":
            lowered = _with_dtype(method, COMPUTE[self.compute])
            if lowered is method:
                name = type(method).__name__
                raise ValueError(f"Precision.compute must be float32 for {name}: no network of it has a field dtype.")
        return Precise(method, lowered, self)


@dataclass(frozen=True, eq=False)
class Precise:
    """A method whose loss is that of `lowered`, under a `Precision`; everything else is the method's own."""

    method: Any
    lowered: Any
    precision: Precision

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters, float32."""
        return self.method.init(key, obs, x)

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The method's loss, its networks in the precision asked for.

        Raises:
            ValueError: a pattern of `keep` that no module of the networks matches.
        """
        kept = _Kept(self.precision.keep)
        matmul = None if self.precision.matmul == "default" else self.precision.matmul
        with jax.default_matmul_precision(matmul), nn.intercept_methods(kept):
            value = self.lowered.loss(params, state, obs, x, key)
        idle = sorted(set(self.precision.keep) - kept.matched)
        if idle:
            seen = ", ".join(sorted(kept.seen)[:12])
            raise ValueError(f"Precision.keep must match modules of the networks, and {idle[0]!r} does not: {seen} ...")
        return value

    def restorer(self, params: PyTree) -> Restorer:
        """What was learned, restoring in float32."""
        return self.method.restorer(params)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("method", "lowered", "precision"):
            raise AttributeError(name)
        return getattr(self.method, name)


def _with_dtype(thing: Any, dtype: Any) -> Any:
    """`thing` with `dtype` in each linen module inside that has such a field; itself where there is none."""
    if isinstance(thing, tuple | list):
        parts = tuple(_with_dtype(one, dtype) for one in thing)
        return thing if all(new is old for new, old in zip(parts, thing)) else parts
    if isinstance(thing, Mapping):
        made = {name: _with_dtype(one, dtype) for name, one in thing.items()}
        return thing if all(made[name] is one for name, one in thing.items()) else made
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return thing
    names = [f.name for f in dataclasses.fields(thing) if f.init and f.name not in ("parent", "name")]
    changed = {}
    for name in names:
        old = getattr(thing, name)
        new = dtype if name == "dtype" and isinstance(thing, nn.Module) else _with_dtype(old, dtype)
        if new is not old:
            changed[name] = new
    return dataclasses.replace(thing, **changed) if changed else thing


class _Kept:
    """Modules whose path matches one of `patterns` compute in float32, with everything inside them."""

    def __init__(self, patterns: tuple[str, ...]):
        self.patterns, self.matched, self.seen = patterns, set(), set()

    def __call__(self, next_fun: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path or module.is_initializing():
            return next_fun(*args, **kwargs)
        path = "/".join(module.path)
        self.seen.add(path)
        found = {pattern for pattern in self.patterns if fnmatch.fnmatchcase(path, pattern)}
        self.matched |= found
        if not found:
            return next_fun(*args, **kwargs)
        whole = {"dtype": jnp.float32} if hasattr(module, "dtype") else {}
        args, kwargs = jax.tree.map(_float32, (args, kwargs))
        return module.clone(parent=None, **whole).apply(module.variables, *args, **kwargs)


def _float32(leaf: Any) -> Any:
    lowered = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float32) if lowered else leaf


@contextlib.contextmanager
def rematerialised(policy: str) -> Iterator[None]:
    """Networks traced inside keep less for their gradient, and compute it again.

        "none"   everything that a gradient needs is kept
        "dots"   of each block, the results of products of matrices (`jax.checkpoint_policies.dots_saveable`)
        "full"   of each block, what goes into it

    A block is a module of the net that has modules in it: residual blocks, stages. The numbers stay the same, to the
    order of float32 sums; "full" costs one more evaluation of the blocks a step. Convolutions are not products of
    matrices to JAX; 1x1 ones and attention are.

    Raises:
        ValueError: another name.

    Reference: Chen et al. 2016, "Training deep nets with sublinear memory cost", section 4.
    """
    if policy == "none":
        yield
        return
    if policy not in POLICIES:
        raise ValueError(f"make_step.remat must be one of none, {', '.join(POLICIES)}, not {policy!r}.")
    within = False

    def block(next_fun: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        nonlocal within
        module = context.module
        called = context.method_name == "__call__" and len(module.path) == 1 and not module.is_initializing()
        arrays = all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((args, kwargs)))
        if within or not called or not arrays or not _composite(module):
            return next_fun(*args, **kwargs)

        def again(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            nonlocal within
            within = True
            try:
                return type(module).__call__(module, *args, **kwargs)
            finally:
                within = False

        return nn.remat(again, policy=POLICIES[policy])(module, *args, **kwargs)

    with nn.intercept_methods(block):
        yield


def _composite(module: nn.Module) -> bool:
    """Whether a module has parameters of other modules inside it."""
    return any(isinstance(inner, Mapping) for inner in module.variables.get("params", {}).values())


EXAMPLES = (
    {"name": "train.precision.Precision", "compute": "bfloat16", "keep": ("*norm*",)},
    {"name": "train.precision.Precision", "matmul": "highest"},
)
