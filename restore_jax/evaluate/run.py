"""A restorer under a protocol: one row a photograph, and their mean."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.core import Metric, Observation
from restore_jax.evaluate.protocol import Protocol
from restore_jax.metrics.psnr import Psnr
from restore_jax.metrics.ssim import Ssim

METRICS: dict[str, Metric] = {"psnr": Psnr(), "ssim": Ssim()}


def evaluate(
    restorer: Callable[[Any, Observation], Any],
    protocol: Protocol,
    metrics: dict[str, Metric] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows `{"photograph", <metric>..., "protocol"}`, the last one the mean over photographs.

    The restorer is given what a user has, y alone; photograph i with the key `fold_in(key(seed + 1), i)`.
    """
    metrics = {name: jax.jit(metric) for name, metric in (metrics or METRICS).items()}
    stamp = protocol.stamp()["hash"]
    cases = protocol.cases
    rows = []
    for i, (name, obs, x) in enumerate(cases):
        key = jax.random.fold_in(jax.random.key(protocol.seed + 1), i)
        x_hat = restorer(key, Observation(y=obs.y[None]))[0]
        pair = [jnp.asarray(protocol.compared(np.asarray(picture))) for picture in (x_hat, x)]
        rows.append({"photograph": name, **{m: float(f(*pair)) for m, f in metrics.items()}, "protocol": stamp})
        if progress:
            progress(i + 1, len(cases))
    mean = {m: float(np.mean([row[m] for row in rows])) for m in metrics}
    return [*rows, {"photograph": "mean", **mean, "protocol": stamp}]
