"""How far two sets of pictures are from being drawn from one law."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def sliced_wasserstein(
    key: Key[Array, ""], a: Float[Array, "n *s"], b: Float[Array, "m *s"], projections: int = 128
) -> Float[Array, ""]:
    """`sqrt(mean_u mean_i (sort(a u)_i - sort(b u)_i)^2)` over directions u: in units of a pixel, 0 for equal sets.

    Along one direction it is the Wasserstein distance of order 2 between the two sets, exactly: sorted numbers are
    matched in order. Over directions it is a mean, of orthogonal bases drawn at random, so that with as many
    projections as a picture has d numbers, or a multiple, a shift v counts |v| / sqrt(d), whatever the draw;
    N(m, s^2 I) and N(m', s'^2 I) are sqrt(|m - m'|^2 / d + (s - s')^2) apart.

    Two sets of n drawn from one law are not 0 apart, but, squared and along one direction, twice the mean variance of
    an order statistic: width^2 / (3 (n + 1)) for a uniform law, about variance log(log n) / n for a normal one. That
    noise floor is best measured with two sets of the law itself. Cost: d^3 to draw a basis, `2 n projections d`
    multiply-adds and as many sorts of n as there are projections.

    Raises:
        ValueError: the sets are not of one size, or `projections` is below 1.

    Reference: Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing"; orthogonal
    directions: Rowland et al. 2019, "Orthogonal estimation of Wasserstein distances".
    """
    n, m = a.shape[0], b.shape[0]
    if n != m or n == 0:
        raise ValueError(f"sliced_wasserstein compares two sets of one size, not of {n} and {m}: cut the larger.")
    if projections < 1:
        raise ValueError(f"sliced_wasserstein: projections must be 1 or more, not {projections}.")
    a, b = (jnp.reshape(x, (n, -1)) for x in (a, b))
    d = a.shape[1]
    bases, _ = jnp.linalg.qr(jax.random.normal(key, (-(-projections // d), d, d), a.dtype))
    directions = jnp.moveaxis(bases, 0, 1).reshape(d, -1)[:, :projections]
    along_a, along_b = (jnp.sort(x @ directions, axis=0) for x in (a, b))
    return jnp.sqrt(jnp.mean((along_a - along_b) ** 2))
