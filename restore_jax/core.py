"""The nouns of restore_jax. Read me first.

A photograph `x` was harmed into an observation `y`; a restorer gives back `x_hat`. Everything in
this library is one of the nouns below, and each noun has one folder, one page and one law-suite:

    Degradation = (key, x) -> Observation                       degrade/    how pictures are harmed
    Operator    : A(x), A.adjoint(y), A.solve(r, reg)           degrade/    the linear part of a degradation
    Observation : y, operator, noise_std, cond                  core        what a restorer is given
    Denoiser    = (x_t, sigma) -> x_hat                         methods/    parameters and condition already bound
    Guidance    = (Denoiser, Observation) -> Denoiser           diffusion/  everything that guides
    Step        = (key, Denoiser, x, sigma_from, sigma_to) -> x diffusion/  one move along the noise axis
    Sampler     = (key, Denoiser, Observation) -> x_hat         diffusion/  many moves
    Target      = (key, net, state, obs, x) -> Supervision      targets/    what the network should have said
    Metric      = (x_hat, x) -> [b]                             metrics/    a loss is a metric you differentiate
    Method      : init, loss, restorer                          methods/    a way to learn a restorer
    Restorer    = (key, Observation) -> x_hat                   methods/    every family ends here; infer/ combines them

The symbols, everywhere:

    x         clean photograph, float32 in [0, 1], sRGB unless the name says `linear`
    x_hat     an estimate of x
    y         what was observed: y = A(x) + noise
    A         a linear operator; A.adjoint is its transpose
    sigma     standard deviation of noise, in units of x
    x_t       x with noise of level sigma on it: x_t = x + sigma n (the convention of EDM)
    denoise   a Denoiser;  `net` is the same before parameters and condition are bound
    key       randomness, always the first argument, never stored

Shapes: `h w c` are always the last three axes and `*b` is any number of axes before them; video is
`*b t h w c`. A Degradation and an Operator speak of *one* example `h w c`; batches are `jax.vmap`.
Denoisers, samplers, targets, metrics and restorers speak of batches.

Randomness: where a `key` meets a batch it may be one key, or one key an example (see `normal`).
With a key an example, what happens to a picture does not depend on its neighbours in the batch,
nor on how many devices share the work.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key, Shaped

PyTree = Any
Shape = tuple[int, ...]
Keys = Key[Array, "..."]  # one key, or one an example


# ---------------------------------------------------------------------------------------------
# Linear operators and observations
# ---------------------------------------------------------------------------------------------


@struct.dataclass
class Operator:
    """A linear map `A` from one image `in_shape` to one observation; a frozen pytree.

    Numbers that change values (a blur's width, a mask) are leaves: changing them retraces
    nothing. Numbers that change shapes are static fields. A subclass writes `__call__`, and
    overrides `adjoint` and `solve` where a closed form exists.
    """

    in_shape: Shape = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "*t h w c"]) -> Float[Array, "..."]:
        """`A x`."""
        raise TypeError(f"{type(self).__name__} does not define __call__, the one method an Operator must have.")

    def adjoint(self, y: Float[Array, "..."]) -> Float[Array, "*t h w c"]:
        """`A^T y`, exact to rounding: `<A x, y> = <x, A^T y>`. Costs one transposed pass."""
        (x,) = jax.linear_transpose(self.__call__, jax.ShapeDtypeStruct(self.in_shape, y.dtype))(y)
        return x

    def solve(self, r: Float[Array, "..."], reg: Float[Array, "..."] | float) -> Float[Array, "..."]:
        """`(A A^T + reg I)^-1 r`, the one inverse that all zero-shot samplers are made of.

        The default is 100 iterations of conjugate gradients: exact for a well conditioned system,
        a regularised approximation otherwise. Where `reg == 0` and `A A^T` is singular, closed
        forms return the minimum-norm solution.
        """
        solution, _ = jax.scipy.sparse.linalg.cg(lambda v: self(self.adjoint(v)) + reg * v, r, tol=1e-6, maxiter=100)
        return solution


def pinv(operator: Operator, y: Float[Array, "..."]) -> Float[Array, "*t h w c"]:
    """The least-squares, minimum-norm `x` of `y`: `A^+ y = A^T (A A^T)^-1 y`."""
    return operator.adjoint(operator.solve(y, 0.0))


def prox(
    operator: Operator, z: Float[Array, "*t h w c"], y: Float[Array, "..."], rho: Float[Array, "..."] | float
) -> Float[Array, "*t h w c"]:
    """`argmin_x |A x - y|^2 + rho |x - z|^2 = z + A^T (A A^T + rho I)^-1 (y - A z)`, for rho > 0."""
    return z + operator.adjoint(operator.solve(y - operator(z), rho))


@struct.dataclass
class Observation:
    """What a restorer is given.

    `operator` is None where the degradation is unknown or not linear. `noise_std` is the standard
    deviation of white noise in `y` and broadcasts against it; None says that there is no noise where
    there is an operator (`y = operator(x)`), and that nothing is known of it where there is none.
    `cond` holds whatever else a network may look at, by name, as arrays on the grid of `x`:

        cond["image"]  `y` brought to the grid of x (up-sampled where y is smaller): h w c
        cond["noise"]  fixed noise for a sampler, k images side by side: h w (k c)
        cond["until"]  the level that a flow map is to jump to, one number an image
    """

    y: Any
    operator: Operator | None = None
    noise_std: Any = None
    cond: Mapping[str, Any] = struct.field(default_factory=dict)

    def with_cond(self, **arrays: Any) -> "Observation":
        """The same observation with these conditions too, or in place of its own; None removes one."""
        return self.replace(cond={name: a for name, a in {**self.cond, **arrays}.items() if a is not None})

    @property
    def x_shape(self) -> Shape:
        """The shape of the `x` that is asked for, batch axes included."""
        if "image" in self.cond:
            return self.cond["image"].shape
        if self.operator is not None:
            return self.y.shape[: -len(self.operator.in_shape)] + tuple(self.operator.in_shape)
        return self.y.shape


# ---------------------------------------------------------------------------------------------
# Functions that have a name
# ---------------------------------------------------------------------------------------------

Degradation = Callable[[Key[Array, ""], Float[Array, "*t h w c"]], Observation]
Denoiser = Callable[[Float[Array, "*b h w c"], Float[Array, "*#b"]], Float[Array, "*b h w c"]]
Guidance = Callable[[Denoiser, Observation], Denoiser]
Step = Callable[[Keys, Denoiser, Array, Array, Array], Array]
Metric = Callable[[Float[Array, "*b h w c"], Float[Array, "*b h w c"]], Float[Array, "*b"]]
Net = Callable[[PyTree, Array, Array, Observation], Array]  # (params, x_t, sigma, obs) -> x_hat


@runtime_checkable
class Conditional(Protocol):
    """A Denoiser that can be asked again under another condition: `denoise.given(image=..., until=...)`.

    Guidance by differences and flow maps need it; a plain function from (x_t, sigma) to x_hat does not have it.
    """

    def __call__(self, x_t: Array, sigma: Array) -> Array:
        """`x_hat`."""
        ...

    def given(self, **cond: Any) -> "Conditional":
        """The same network under the same observation with these conditions in place of its own; None removes one."""
        ...


@runtime_checkable
class Multistep(Protocol):
    """A Step that learns from the steps before it; a plain Step forgets. `__call__` is its first move."""

    def blank(self, x: Array) -> PyTree:
        """The memory before the first move down from `x`."""
        ...

    def __call__(self, key: Keys, denoise: Denoiser, x: Array, s: Array, t: Array) -> Array:
        """The picture at level t, without memory."""
        ...

    def move(self, memory: PyTree, key: Keys, denoise: Denoiser, x: Array, s: Array, t: Array) -> tuple[Array, PyTree]:
        """The picture at level t, and what to remember of it."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """From a denoiser to a picture. `draws` counts the noise images that it uses up."""

    @property
    def draws(self) -> int:
        """How many noise images of the size of `x` one sample consumes."""
        ...

    @property
    def nfe(self) -> int:
        """How many times one sample evaluates the denoiser."""
        ...

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation of the batch."""
        ...


@runtime_checkable
class Restorer(Protocol):
    """Where every family ends: `(key, Observation) -> x_hat`, at `scale` times the size of `y`."""

    @property
    def scale(self) -> int:
        """Pixels of `x_hat` a side for one pixel of `y`."""
        ...

    @property
    def draws(self) -> int:
        """How many noise images of the size of `x_hat` it consumes; 0 for a deterministic one."""
        ...

    def __call__(self, key: Keys, obs: Observation) -> Any:
        """The restored batch `*b h w c`: on the device, or on the host where a combinator assembles it there."""
        ...


@struct.dataclass
class Supervision:
    """What a Target says: at `inputs = (x_t, sigma)` the network should have said `target`.

    The loss is the mean over the batch of `weight * metric(net(params, *inputs, asked), target)`, where
    `asked = obs.with_cond(**cond)`: conditions that belong to the question (the level a flow map jumps to).
    No gradient flows through any of the four.
    """

    inputs: tuple[Any, Any]
    target: Any
    weight: Any
    cond: Mapping[str, Any] = struct.field(default_factory=dict)


@runtime_checkable
class Target(Protocol):
    """What a network should have said; a training method in one function."""

    def __call__(self, key: Keys, net: Net, state: "TrainState", obs: Observation, x: Array) -> Supervision:
        """The supervision of one batch."""
        ...


@runtime_checkable
class Method(Protocol):
    """A way to learn a restorer."""

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters for pictures like these."""
        ...

    def loss(
        self, params: PyTree, state: "TrainState", obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The scalar to differentiate with respect to `params`, and what to log."""
        ...

    def restorer(self, params: PyTree) -> Restorer:
        """What was learned."""
        ...


@struct.dataclass
class TrainState:
    """Everything a training step changes, and the randomness it starts from.

    `ema` shadows `params`; `frozen` is never changed (teachers, perceptual nets); `aux` is
    whatever a method carries from step to step. `key` never changes: step k uses fold_in(key, k).
    """

    step: Any
    params: PyTree
    ema: PyTree
    opt_state: PyTree
    key: Any
    frozen: PyTree = struct.field(default_factory=dict)
    aux: PyTree = struct.field(default_factory=dict)


# ---------------------------------------------------------------------------------------------
# Conventions, as functions
# ---------------------------------------------------------------------------------------------


def per_image(sigma: Shaped[Array, "*b"] | float, x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """`sigma`, one number or one number an image, shaped so that it broadcasts against `x`."""
    sigma = jnp.asarray(sigma, x.dtype)
    return sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim)) if sigma.ndim else sigma


def normal(key: Keys, shape: Shape, dtype: Any = jnp.float32) -> Shaped[Array, "..."]:
    """Standard normal noise of `shape`; a batch of keys draws for its leading axes one by one."""
    one_by_one = jax.vmap(lambda one: normal(one, shape[1:], dtype))
    return one_by_one(key) if key.ndim else jax.random.normal(key, shape, dtype)


def split(key: Keys, n: int = 2) -> Keys:
    """`n` independent keys along a new first axis; a batch of keys is split one by one: `n *b`."""
    one_by_one = jax.vmap(lambda one: split(one, n), out_axes=1)
    return one_by_one(key) if key.ndim else jax.random.split(key, n)


def each(key: Keys, n: int) -> Keys:
    """A key for each of `n` examples: what `key` splits into, or `key` itself where it is that already."""
    return key if key.ndim else jax.random.split(key, n)
