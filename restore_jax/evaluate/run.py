"""A restorer under a protocol: one row a photograph, and their mean."""

import hashlib
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
    """Rows `{"photograph", <metric>..., "protocol", "weights"}`, the last one the mean over photographs.

    The restorer is given what a user has, y alone; photograph i with the key `fold_in(key(seed + 1), i)`. "protocol"
    and "weights" are the hashes of how the number was made, and by what.

    Raises:
        ValueError: an answer of another size than the photograph.
    """
    metrics = {name: jax.jit(metric) for name, metric in (metrics or METRICS).items()}
    stamps = {"protocol": protocol.stamp()["hash"], "weights": weights_hash(restorer)}
    cases = protocol.cases
    rows = []
    for i, (name, obs, x) in enumerate(cases):
        key = jax.random.fold_in(jax.random.key(protocol.seed + 1), i)
        x_hat = restorer(key, Observation(y=obs.y[None]))[0]
        if x_hat.shape != x.shape:
            raise ValueError(
                f"{name}: the restorer answers {x_hat.shape} to {obs.y.shape}, and the photograph is {x.shape}: "
                "does its scale fit the protocol's?"
            )
        pair = [jnp.asarray(protocol.compared(np.asarray(picture))) for picture in (x_hat, x)]
        rows.append({"photograph": name, **{m: float(f(*pair)) for m, f in metrics.items()}, **stamps})
        if progress:
            progress(i + 1, len(cases))
    mean = {m: float(np.mean([row[m] for row in rows])) for m in metrics}
    return [*rows, {"photograph": "mean", **mean, **stamps}]


def weights_hash(restorer: Any) -> str | None:
    """A short hash of the parameters of a restorer, or of the one inside it; None where there are none."""
    while not hasattr(restorer, "params") and hasattr(restorer, "restorer"):
        restorer = restorer.restorer
    leaves = jax.tree_util.tree_leaves_with_path(getattr(restorer, "params", None))
    digest = hashlib.sha256()
    for path, leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12] if leaves else None
