"""How steady a video is: the error between each frame and the next one carried back along the flow."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import unit_range
from restore_jax.ops.warp import flow_grid, sample


@dataclass(frozen=True)
class WarpingError:
    """The mean squared difference of each frame from the next one, read along the flow, where it can be seen there.

        error(t) = sum_p m_t(p) |frames[t+1](p + flow[t](p)) - frames[t](p)|^2 / (c sum_p m_t(p))

    and the mean over t. `flow[t](p)` in pixels (row, column) says where p of frame t is in frame t + 1; it is that of
    the true video, or estimated, and the caller's. `m` is `visible`, 1 where p is seen in both frames (`seen` finds it
    from the flows both ways); what the flow carries out of the picture never counts. A pair of frames without a
    visible pixel adds 0. Linear interpolation alone costs something: the flow of a whole pixel costs nothing.
    0 for a video that only moves; a still, empty video has 0 too, so report it with a measure of fidelity.

    Raises:
        ValueError: fewer than two frames, or shapes that do not belong together.

    Reference: Lai et al. 2018, "Learning blind video temporal consistency" (E_warp).
    """

    def __call__(
        self,
        frames: Float[Array, "*b t h w c"],
        flow: Float[Array, "*b s h w 2"],
        visible: Float[Array, "*b s h w"] | None = None,
    ) -> Float[Array, "*b"]:
        """One number a video, in squared units of the frames."""
        unit_range("WarpingError", frames)
        *batch, t, h, w, c = frames.shape
        if t < 2:
            raise ValueError(f"WarpingError compares a frame with the next one: it needs 2 frames or more, not {t}.")
        wanted = (*batch, t - 1, h, w)
        if flow.shape != (*wanted, 2) or (visible is not None and visible.shape != wanted):
            given = f"flow {flow.shape}" + ("" if visible is None else f" and visible {visible.shape}")
            raise ValueError(
                f"WarpingError: frames {frames.shape} want flow {(*wanted, 2)} and visible {wanted}: {given}."
            )
        pair = [part.reshape(-1, h, w, c) for part in (frames[..., :-1, :, :, :], frames[..., 1:, :, :, :])]
        flat = flow.reshape(-1, h, w, 2)
        carried = jax.vmap(lambda x, v: sample(x, flow_grid(v), "edge"))(pair[1], flat)
        mask = _inside(flat)
        if visible is not None:
            mask = mask * visible.reshape(mask.shape).astype(mask.dtype)
        wrong = jnp.sum(mask * jnp.mean((carried - pair[0]) ** 2, axis=-1), axis=(-2, -1))
        each = wrong / jnp.maximum(jnp.sum(mask, axis=(-2, -1)), 1.0)
        return jnp.mean(each.reshape(*batch, t - 1), axis=-1).astype(frames.dtype)


def seen(forward: Float[Array, "*b h w 2"], backward: Float[Array, "*b h w 2"]) -> Float[Array, "*b h w"]:
    """1 where following `forward` and then `backward` leads home and stays in the picture, 0 where p is occluded.

        |forward(p) + backward(p + forward(p))|^2 < 0.01 (|forward|^2 + |backward|^2) + 0.5

    Reference: Sundaram, Brox & Keutzer 2010, "Dense point trajectories by GPU-accelerated large displacement optical
    flow".
    """
    if forward.shape != backward.shape:
        raise ValueError(f"seen compares flows of one shape, not {forward.shape} with {backward.shape}.")
    there = forward.reshape(-1, *forward.shape[-3:])
    back = jax.vmap(lambda x, v: sample(x, flow_grid(v), "edge"))(backward.reshape(there.shape), there)
    square = lambda v: jnp.sum(v * v, axis=-1)  # noqa: E731
    home = square(there + back) < 0.01 * (square(there) + square(back)) + 0.5
    return (home * _inside(there)).reshape(forward.shape[:-1]).astype(forward.dtype)


def _inside(flow: Float[Array, "n h w 2"]) -> Float[Array, "n h w"]:
    grid = jax.vmap(flow_grid)(flow)
    last = jnp.asarray([n - 1 for n in flow.shape[1:3]], flow.dtype).reshape(1, 1, 1, 2)
    return jnp.all((grid >= 0) & (grid <= last), axis=-1).astype(flow.dtype)


EXAMPLES = ({"name": "metrics.temporal.WarpingError"},)
