"""Distances between two sets of pictures, by any features of them: Fréchet (FID) and kernel (KID).

FID and KID are by name those on the features of one InceptionV3, which is not carried here: give them its features and
these are FID and KID; give them others, such as `lite0_features`, and name the numbers after those. Neither compares
across numbers of pictures unless both sets are large: the Fréchet distance of n pictures is biased by about 1 / n.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import check_channels, unit_range
from restore_jax.nets.efficientnet import features, pretrained


def frechet_distance(
    mean_a: Float[Array, " d"], cov_a: Float[Array, "d d"], mean_b: Float[Array, " d"], cov_b: Float[Array, "d d"]
) -> Float[Array, ""]:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians: `|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))`.

    The last trace is the sum of the singular values of `A^(1/2) B^(1/2)`, so that no product of the two is squared and
    float32 keeps about `1e-6 tr(A + B)`. Differentiable in the means; in the covariances where they are of full rank,
    without equal eigenvalues.

    Raises:
        ValueError: sizes that do not belong together.

    Reference: Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions".
    """
    d = mean_a.shape[-1]
    if mean_b.shape != (d,) or cov_a.shape != (d, d) or cov_b.shape != (d, d):
        raise ValueError(
            f"frechet_distance wants means [d] and covariances [d, d] of one d: {mean_a.shape}, {cov_a.shape}, "
            f"{mean_b.shape}, {cov_b.shape}."
        )
    return _distance(mean_a, _root(cov_a), mean_b, _root(cov_b))


def fid(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, ""]:
    """The Fréchet distance of two sets of features, a row a picture, with covariances over `n - 1` and `m - 1`.

    0 for equal sets, in any order of their rows. With `F` the centred features over `sqrt(n - 1)`, reduced to their
    triangular factor where `n > d`, it is `|mean_a - mean_b|^2 + |F_a|^2 + |F_b|^2 - 2 |F_a F_b^T|_*`: covariances are
    never formed, and fewer pictures than features are exact too.

    Raises:
        ValueError: fewer than two rows, or features of two lengths.

    Reference: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    eq. 6.
    """
    _check_sets("fid", a, b)
    return _distance(jnp.mean(a, axis=0), _factor(a), jnp.mean(b, axis=0), _factor(b))


def kid(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, ""]:
    """The unbiased estimate of the squared maximum mean discrepancy under `k(u, v) = (u . v / d + 1)^3`.

        sum_{i != j} k(a_i, a_j) / (n (n - 1)) + sum_{i != j} k(b_i, b_j) / (m (m - 1)) - 2 mean_ij k(a_i, b_j)

    Its mean over draws is 0 for sets from one distribution, and it is as often below. All rows at once, `n m` numbers;
    for the published form take the mean over random subsets of 1000.

    Raises:
        ValueError: fewer than two rows, or features of two lengths.

    Reference: Bińkowski et al. 2018, "Demystifying MMD GANs".
    """
    _check_sets("kid", a, b)
    k = lambda u, v: (jnp.matmul(u, v.T, precision="highest") / u.shape[1] + 1.0) ** 3  # noqa: E731

    def within(u: Array) -> Array:
        own, n = k(u, u), len(u)
        return jnp.sum(jnp.where(jnp.eye(n, dtype=bool), 0.0, own)) / (n * (n - 1))

    return within(a) + within(b) - 2.0 * jnp.mean(k(a, b))


def lite0_features(x: Float[Array, "*b h w c"]) -> Float[Array, "*b 320"]:
    """A row a picture for `fid` and `kid`: EfficientNet-Lite0's last stage, averaged over its pixels.

    A Fréchet distance on them is not FID, whose features are another network's: call it "FD on EfficientNet-Lite0".
    For pictures in [0, 1], grey or RGB.

    Raises:
        ImportError: the extra "perceptual" is not installed.
        ValueError: other than 1 or 3 channels, or values clearly outside [0, 1] where they are known.
    """
    unit_range("lite0_features", x)
    check_channels("lite0_features", x)
    flat = jnp.broadcast_to(x, (*x.shape[:-1], 3)).reshape(-1, *x.shape[-3:-1], 3)
    last = features(pretrained(), flat)[-1]
    return jnp.mean(last, axis=(1, 2)).reshape(*x.shape[:-3], last.shape[-1])


def _check_sets(name: str, a: Array, b: Array) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"{name} compares two sets of features [n, d], n >= 2, of one d, not {a.shape} with {b.shape}."
        )


def _factor(a: Array) -> Array:
    """A matrix `F` of at most d rows with `F^T F` the covariance."""
    n, d = a.shape
    off = (a - jnp.mean(a, axis=0, keepdims=True)) / jnp.sqrt(jnp.asarray(n - 1, a.dtype))
    return jnp.linalg.qr(off, mode="r") if n > d else off


def _root(cov: Array) -> Array:
    values, vectors = jnp.linalg.eigh(cov)
    return jnp.sqrt(jnp.maximum(values, 0.0))[:, None] * vectors.T


def _distance(mean_a: Array, factor_a: Array, mean_b: Array, factor_b: Array) -> Array:
    shared = jnp.linalg.svd(jnp.matmul(factor_a, factor_b.T, precision="highest"), compute_uv=False)
    spread = jnp.sum(factor_a**2) + jnp.sum(factor_b**2)
    return jnp.sum((mean_a - mean_b) ** 2) + spread - 2.0 * jnp.sum(shared)
