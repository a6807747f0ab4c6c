"""Clips: any degradation of a picture, lifted over time. x is `t h w c`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.linear import Identity

EXAMPLE_SHAPE = (3, 8, 12, 3)  # what the members of this file take, for the law-suite

_COURSES = ("fixed", "drifting", "redrawn")


@struct.dataclass
class Frames(Operator):
    """`(A x)[t] = A_t x[t]`: block diagonal, one operator a frame, with whatever closed forms the frames have.

    `frame` is one operator whose leaves have a leading axis t; or, where `shared`, one operator for all frames.
    Cost: t times that of one frame, run as one batch.
    """

    frame: Operator
    shared: bool = struct.field(pytree_node=False, default=False)

    def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t ..."]:
        """`A_t x[t]`."""
        return self._each(lambda a, x: a(x), x)

    def adjoint(self, y: Float[Array, "t ..."]) -> Float[Array, "t h w c"]:
        """`A_t^T y[t]`."""
        return self._each(lambda a, y: a.adjoint(y), y)

    def solve(self, r: Float[Array, "t ..."], reg: Float[Array, "..."] | float) -> Float[Array, "t ..."]:
        """`(A_t A_t^T + reg[t])^-1 r[t]`; a `reg` of one number a frame, `[t, 1, 1, 1]`, keeps the closed form."""
        reg = jnp.asarray(reg, r.dtype)
        if reg.ndim == 0:
            return self._each(lambda a, r: a.solve(r, reg), r)
        reg = reg.reshape((1,) * (r.ndim - reg.ndim) + reg.shape)
        reg = jnp.broadcast_to(reg, (r.shape[0], *reg.shape[1:]))
        if reg.size == reg.shape[0]:
            reg = reg.ravel()
        return self._each(lambda a, r, reg: a.solve(r, reg), r, reg)

    def _each(self, function: Callable[..., Any], *arrays: Array) -> Array:
        return jax.vmap(function, (None if self.shared else 0, *(0 for _ in arrays)))(self.frame, *arrays)


@struct.dataclass
class Blend(Operator):
    """`A x = (1 - share) first(x) + share second(x)`; `share` is one number. `solve` is the default's."""

    first: Operator
    second: Operator
    share: Any

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "..."]:
        """`(1 - share) first(x) + share second(x)`."""
        return (1.0 - self.share) * self.first(x) + self.share * self.second(x)

    def adjoint(self, y: Float[Array, "..."]) -> Float[Array, "h w c"]:
        """`(1 - share) first^T y + share second^T y`."""
        return (1.0 - self.share) * self.first.adjoint(y) + self.share * self.second.adjoint(y)


@struct.dataclass
class Tall(Operator):
    """The operator `picture` of one picture `(t h) w c`, the frames one below another, on the clip `t h w c`."""

    picture: Operator

    def __call__(self, x: Float[Array, "t h w c"]) -> Float[Array, "t h w d"]:
        """`A` on the frames one below another."""
        return _clip(self.picture(_tall(x)), x.shape[0])

    def adjoint(self, y: Float[Array, "t h w d"]) -> Float[Array, "t h w c"]:
        """`A^T` likewise."""
        return _clip(self.picture.adjoint(_tall(y)), y.shape[0])

    def solve(self, r: Float[Array, "t h w d"], reg: Float[Array, "..."] | float) -> Float[Array, "t h w d"]:
        """`(A A^T + reg)^-1 r` likewise."""
        if jnp.ndim(reg) > 0:
            reg = _tall(jnp.broadcast_to(reg, r.shape))
        return _clip(self.picture.solve(_tall(r), reg), r.shape[0])


def _tall(x: Float[Array, "t h w c"]) -> Float[Array, "th w c"]:
    return x.reshape(-1, *x.shape[2:])


def _clip(x: Float[Array, "th w c"], frames: int) -> Float[Array, "t h w c"]:
    return x.reshape(frames, -1, *x.shape[1:])


@dataclass(frozen=True)
class Video:
    """`y[t] = step(key[t], x[t])`: a degradation of pictures on every frame of a clip.

    A step draws all that is random in it from its key: its parameters and its pattern, be it a width, a mask or noise.

        "fixed"     one key for all frames: a lens's blur, a logo, dirt, the pattern noise of a sensor
        "redrawn"   a key for each frame: the noise of the light
        "drifting"  from one draw to another: with `a = t / (T - 1)`,
                    `y[t] = (1 - a) step(key_0, x[t]) + a step(key_1, x[t])`

    A drift is a cross-fade, which is defined for every step and keeps linear ones linear: a mixture of two Gaussian
    blurs, whose variance goes straight from one to the other; a mask that is soft in between; but noise that is
    weaker by sqrt(2) half way. It costs two steps a frame. What behaves differently in time is lifted part by
    part and chained: `Chain((Video(blur, "fixed"), Video(noise, "redrawn")))`. Noise whose strength is drawn once for
    the clip and which is fresh in each frame is `Pixelwise(noise)`.

    The operator is `Frames` where the step has one. With "redrawn", `noise_std` is `[t, 1, 1, 1]`, or one a pixel
    where the step's is. Noise that is fixed or drifting is not white in time: there operator and `noise_std` are None.

    Raises:
        ValueError: an unknown word (when built); an x that is not `t h w c` (when traced).
    """

    step: Callable[[Any, Any], Observation]
    parameters: str = "fixed"

    def __post_init__(self) -> None:
        if self.parameters not in _COURSES:
            raise ValueError(f"Video.parameters must be one of {_COURSES}, not {self.parameters!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "..."]) -> Observation:
        """The harmed clip."""
        _check_clip(self, x)
        if self.parameters == "redrawn":
            return self._redrawn(jax.random.split(key, x.shape[0]), x)
        if self.parameters == "fixed":
            return self._fixed(key, x)
        first, second = (self._fixed(one, x) for one in jax.random.split(key))
        share = jnp.linspace(0.0, 1.0, x.shape[0], dtype=x.dtype)

        def blend(u, v):
            a = share.reshape(-1, *(1,) * (u.ndim - 1))
            return (1.0 - a) * u + a * v

        obs = Observation(y=blend(first.y, second.y), cond=jax.tree.map(blend, first.cond, second.cond))
        if first.operator is None or second.operator is None or isinstance(first.operator, Identity):
            return obs.replace(operator=first.operator)  # unknown, or the same all the time
        spread = lambda v: jnp.broadcast_to(v, (x.shape[0], *v.shape))  # noqa: E731
        ends = [jax.tree.map(spread, one.frame) for one in (first.operator, second.operator)]
        frame = Blend(in_shape=x.shape[1:], first=ends[0], second=ends[1], share=share)
        return obs.replace(operator=Frames(in_shape=x.shape, frame=frame))

    def _redrawn(self, keys: Key[Array, " t"], x: Float[Array, "t h w c"]) -> Observation:
        obs = jax.vmap(self.step)(keys, x)
        if isinstance(obs.operator, Identity):
            obs = obs.replace(operator=Identity(in_shape=x.shape))
        elif obs.operator is not None:
            obs = obs.replace(operator=Frames(in_shape=x.shape, frame=obs.operator))
        if obs.noise_std is None:
            return obs
        # It broadcasts against a frame from the right; the time stays on the left.
        ones = (1,) * (obs.y.ndim - obs.noise_std.ndim)
        return obs.replace(noise_std=obs.noise_std.reshape(x.shape[:1] + ones + obs.noise_std.shape[1:]))

    def _fixed(self, key: Key[Array, ""], x: Float[Array, "t h w c"]) -> Observation:
        obs = jax.vmap(self.step, (None, 0))(key, x)
        if obs.operator is None or obs.noise_std is not None:
            return Observation(y=obs.y, cond=obs.cond)
        if isinstance(obs.operator, Identity):
            return obs.replace(operator=Identity(in_shape=x.shape))
        # A linear operator cannot depend on x: with one key it is one operator, that of any frame.
        frame: Any = self.step(key, x[0]).operator
        return obs.replace(operator=Frames(in_shape=x.shape, frame=frame, shared=True))


@dataclass(frozen=True)
class Pixelwise:
    """`y = step(key, x)` with the frames of x as one tall picture `(t h) w c`: noise of one strength, fresh everywhere.

    For a step that treats each pixel by itself (noise, quantisation, exposure): its parameters are drawn once for
    the clip, and what it draws for each pixel is drawn for each pixel of each frame. A step that looks at a
    pixel's neighbours or place would mix the frames at their borders, which nothing here can notice.

    Raises:
        ValueError: an x that is not `t h w c`, or a step that changes the height or width (when traced).
    """

    step: Callable[[Any, Any], Observation]

    def __call__(self, key: Key[Array, ""], x: Float[Array, "..."]) -> Observation:
        """The harmed clip."""
        _check_clip(self, x)
        tall = _tall(x)
        obs = self.step(key, tall)
        if obs.y.ndim != 3 or obs.y.shape[:2] != tall.shape[:2]:
            raise ValueError(
                f"Pixelwise.step makes {obs.y.shape} of a picture {tall.shape}: height and width must stay."
            )
        operator, noise_std = obs.operator, obs.noise_std
        if isinstance(operator, Identity):
            operator = Identity(in_shape=x.shape)
        elif operator is not None:
            operator = Tall(in_shape=x.shape, picture=operator)
        if noise_std is not None and jnp.ndim(noise_std) > 0:
            noise_std = _clip(jnp.broadcast_to(noise_std, obs.y.shape), x.shape[0])
        cond = {name: _clip(value, x.shape[0]) for name, value in obs.cond.items()}
        return Observation(y=_clip(obs.y, x.shape[0]), operator=operator, noise_std=noise_std, cond=cond)


def _check_clip(owner: Any, x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(f"{type(owner).__name__} takes a clip `t h w c`, not an array of shape {x.shape}.")


_BLUR = {"name": "degrade.blur.GaussianBlur", "std": (0.2, 2.0)}
_NOISE = {"name": "degrade.noise.Gaussian", "std": (0.05, 0.2)}
_HOLES = {"name": "degrade.mask.RandomPixels", "keep": 0.5}

EXAMPLES = (
    {"name": "degrade.video.Video", "step": {"name": "degrade.chain.Chain", "steps": (_BLUR, _NOISE)},
     "parameters": "redrawn"},
    {"name": "degrade.video.Video", "step": _BLUR, "parameters": "drifting"},
    {"name": "degrade.video.Video", "step": _HOLES, "parameters": "fixed"},
    {"name": "degrade.video.Pixelwise", "step": _NOISE},
    {"name": "degrade.video.Pixelwise", "step": _HOLES},
)  # fmt: skip
