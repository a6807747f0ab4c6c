"""NIQE: how far a picture's local statistics are from those of pristine photographs. No reference picture is needed.

The statistics of pristine photographs are our own fit, in `niqe.json`, made by `experiments/niqe_fit.py`: the method is
the published one, the numbers are not the authors' file, and values compare with one another only.
"""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float
from scipy.special import gamma

from restore_jax.metrics.pixel import check_channels, unit_range
from restore_jax.ops.color import luma
from restore_jax.ops.filter import correlate_valid
from restore_jax.ops.resize import resize

FITTED = Path(__file__).with_name("niqe.json")
FEATURES = 36  # eighteen at full size, eighteen at half
SHARP = 0.75  # of the sharpest patch of its photograph: what is sharper is fitted
PAIRS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # the neighbours whose products are looked at, (rows, columns)

# rho(alpha) = Gamma(2 / alpha)^2 / (Gamma(1 / alpha) Gamma(3 / alpha)) grows with alpha, so that a table inverts it.
_ALPHA = np.arange(0.2, 10.0005, 0.005)
_RHO = gamma(2 / _ALPHA) ** 2 / (gamma(1 / _ALPHA) * gamma(3 / _ALPHA))
_BELL = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
_TAPS = tuple(float(t) for t in _BELL / _BELL.sum())


@dataclass(frozen=True)
class Niqe:
    """The NIQE method for pictures in [0, 1], grey or RGB (their luma); lower is better.

        niqe = sqrt((m - m_0)^T ((C + C_0) / 2)^-1 (m - m_0))

    with m and C the mean and covariance of `patch_features` over the picture's patches, m_0 and C_0 those of pristine
    photographs. `parameters` is the path of a file that `experiments/niqe_fit.py` wrote, or "" for the one that comes
    with the package. Patches without any contrast are left out; a picture of nothing else has inf. Differentiable: the
    shape of a distribution is interpolated in a table of 1961 values where the authors take the nearest of 9801.

    A side's last pixels, fewer than a patch of 96, are left out, as the authors do. Few patches make a noisy number: a
    picture of 96 x 96 has a single one, and no covariance of its own.

    Raises:
        ValueError: a picture smaller than one patch, of other than 1 or 3 channels, or clearly outside [0, 1] where its
            values are known.

    Reference: Mittal, Soundararajan & Bovik 2013, "Making a completely blind image quality analyzer".
    """

    parameters: str = ""

    def __call__(self, x_hat: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        unit_range("Niqe", x_hat)
        mean, whiten, patch_px = _pristine(self.parameters or str(FITTED))
        features, valid = patch_features(x_hat.reshape(-1, *x_hat.shape[-3:]), patch_px)
        # In coordinates in which the pristine covariance is the identity, float32 has digits to spare.
        off = jnp.matmul(features - jnp.asarray(mean, features.dtype)[None, None], whiten.T, precision="highest")
        weight = valid.astype(off.dtype)[..., None]
        count = jnp.sum(weight, axis=1)
        centre = jnp.sum(weight * off, axis=1) / jnp.maximum(count, 1.0)
        spread = jnp.where(weight > 0, off - centre[:, None], 0.0)
        cov = jnp.einsum("npi,npj->nij", spread, spread, precision="highest") / jnp.maximum(count - 1.0, 1.0)[..., None]
        both = 0.5 * (cov + jnp.eye(FEATURES, dtype=cov.dtype)[None])
        square = jnp.sum(centre * jnp.linalg.solve(both, centre[..., None])[..., 0], axis=-1)
        distance = jnp.where(count[:, 0] > 0, jnp.sqrt(jnp.maximum(square, 1e-12)), jnp.inf)
        return distance.reshape(x_hat.shape[:-3]).astype(x_hat.dtype)


def patch_features(x: Float[Array, "n h w c"], patch_px: int = 96) -> tuple[Float[Array, "n p 36"], Array]:
    """The 36 features of each patch of each picture, and whether the patch has any contrast.

    A patch is `patch_px` square, half that at half size. With `z = (x - mean) / (std + 1)` of the luma in 0..255, mean
    and std under a 7 x 7 Gaussian window (std 7/6, edge repeated), the features are the shape and mean scale of an
    asymmetric generalised Gaussian fitted to z, and the shape, mean, left and right scale of four more, fitted to the
    products of z with its neighbours in the patch, right, below, and both ways across.
    """
    parts, valid = [], True
    for z, _ in _normalised(x, patch_px):
        alpha, left, right, _ = _fit(z)
        valid = valid & (jnp.mean(z * z, axis=(-2, -1)) > 1e-6)
        parts += [alpha, 0.5 * (left + right)]
        for shift in PAIRS:
            parts += _fit_product(z * jnp.roll(z, shift, axis=(-2, -1)))
    return jnp.stack(parts, axis=-1), jnp.asarray(valid)


def sharpness(x: Float[Array, "n h w c"], patch_px: int = 96) -> Float[Array, "n p"]:
    """The mean of the local std over each patch, in levels of 255."""
    _, std = next(_normalised(x, patch_px))
    return jnp.mean(std, axis=(-2, -1))


def fit(pictures: Iterable[Float[Array, "h w c"]], patch_px: int = 96) -> dict[str, Any]:
    """What `niqe.json` holds, from pristine pictures in [0, 1]: mean and covariance of their sharp patches' features.

    Of each picture, the patches sharper than 0.75 of its sharpest.

    Raises:
        ValueError: too few patches for a covariance of full rank.
    """
    rows, count = [], 0
    for picture in pictures:
        features, valid, sharp = (np.asarray(a[0]) for a in _looked_at(picture[None], patch_px))
        rows.append(features[valid & (sharp > SHARP * sharp.max())].astype(np.float64))
        count += 1
    every = np.concatenate(rows) if rows else np.zeros((0, FEATURES))
    if len(every) <= 2 * FEATURES:
        raise ValueError(
            f"NIQE's fit needs more than {2 * FEATURES} sharp patches, not {len(every)} of {count} pictures."
        )
    lower = np.cov(every, rowvar=False)[np.tril_indices(FEATURES)]
    digits = lambda values: [float(f"{v:.9g}") for v in values]  # noqa: E731
    return {
        "patch_px": patch_px,
        "pictures": count,
        "patches": len(every),
        "mean": digits(every.mean(axis=0)),
        "covariance": digits(lower),  # the lower triangle, row by row
    }


@functools.partial(jax.jit, static_argnums=1)
def _looked_at(x: Array, patch_px: int) -> tuple[Array, Array, Array]:
    return (*patch_features(x, patch_px), sharpness(x, patch_px))


@functools.lru_cache(maxsize=4)
def _pristine(path: str) -> tuple[np.ndarray, np.ndarray, int]:
    """The mean, the matrix that makes the pristine covariance the identity, and the side of a patch."""
    if not Path(path).is_file():
        raise ValueError(f"Niqe.parameters: {path}: no such file; experiments/niqe_fit.py writes one.")
    held = json.loads(Path(path).read_text())
    cov = np.zeros((FEATURES, FEATURES))
    cov[np.tril_indices(FEATURES)] = held["covariance"]
    values, vectors = np.linalg.eigh(cov, UPLO="L")
    if values[0] <= 0:
        raise ValueError(f"Niqe.parameters: {path}: its covariance is not positive; fit it to more photographs.")
    whiten = (vectors / np.sqrt(values)).T
    return np.asarray(held["mean"]), whiten.astype(np.float32), int(held["patch_px"])


def _normalised(x: Array, patch_px: int):
    """At full and at half size: z and the local std of every patch, `[n, p, side, side]`."""
    check_channels("NIQE", x)
    h, w = (n // patch_px * patch_px for n in x.shape[1:3])
    if patch_px % 2 or min(h, w) == 0:
        raise ValueError(f"NIQE looks at even patches of {patch_px} pixels a side; {x.shape[1:3]} has none.")
    grey = 255.0 * (luma(x) if x.shape[-1] == 3 else x)[:, :h, :w]
    for side in (patch_px, patch_px // 2):
        if side < patch_px:
            grey = resize(grey, h // 2, w // 2)
        framed = jnp.pad(grey - 127.5, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
        mean = correlate_valid(framed, _TAPS)
        std = _root(correlate_valid(framed * framed, _TAPS) - mean * mean)
        z = (grey - 127.5 - mean) / (std + 1.0)
        yield _patches(z, side), _patches(std, side)


def _patches(x: Array, side: int) -> Array:
    n, h, w, _ = x.shape
    cut = x.reshape(n, h // side, side, w // side, side).swapaxes(2, 3)
    return cut.reshape(n, -1, side, side)


def _root(v: Array) -> Array:
    return jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v, 1.0)), 0.0)


def _fit(v: Array) -> tuple[Array, Array, Array, Array]:
    """Shape, left and right scale of an asymmetric generalised Gaussian, and what its mean is over right - left.

    By moments (Lasmar et al. 2009): `rho = mean|v|^2 / mean v^2 (g^3 + 1)(g + 1) / (g^2 + 1)^2`, g left over right std.
    """
    tiny, axes = 1e-12, (-2, -1)
    part = lambda where: _root(  # noqa: E731
        jnp.sum(jnp.where(where, v * v, 0.0), axes) / jnp.maximum(jnp.sum(where, axes), 1)
    )
    left, right = part(v < 0), part(v > 0)
    g = left / jnp.maximum(right, tiny)
    g = jnp.clip(g, 1e-3, 1e3)
    ratio = jnp.mean(jnp.abs(v), axes) ** 2 / jnp.maximum(jnp.mean(v * v, axes), tiny)
    rho = ratio * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    alpha = jnp.interp(rho, jnp.asarray(_RHO, v.dtype), jnp.asarray(_ALPHA, v.dtype))
    scale = jnp.exp(0.5 * (gammaln(1 / alpha) - gammaln(3 / alpha)))
    return alpha, left * scale, right * scale, jnp.exp(gammaln(2 / alpha) - gammaln(1 / alpha))


def _fit_product(v: Array) -> list[Array]:
    alpha, left, right, factor = _fit(v)
    return [alpha, (right - left) * factor, left, right]


EXAMPLES = ({"name": "metrics.niqe.Niqe"},)
