"""Structural similarity."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import same_shape
from restore_jax.ops.filter import correlate_valid


@dataclass(frozen=True)
class Ssim:
    """Mean SSIM over all positions of an 11x11 Gaussian window (std 1.5) wholly inside the picture.

    `((2 mu_1 mu_2 + c_1)(2 cov + c_2)) / ((mu_1^2 + mu_2^2 + c_1)(var_1 + var_2 + c_2))`, averaged over
    positions and channels, for pictures in [0, 1]; 1 for equal ones. Equal to scikit-image's
    `structural_similarity(gaussian_weights=True, use_sample_covariance=False)`.

    Raises ValueError for a side below 11 pixels. Cost: five separable filters of 22 taps.

    Reference: Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity", eq. 13-16, K1 = 0.01, K2 = 0.03.
    """

    std: float = 1.5
    radius: int = 5

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, at most 1."""
        same_shape(x_hat, x)
        side = 2 * self.radius + 1
        if min(x.shape[-3:-1]) < side:
            raise ValueError(f"SSIM looks through a {side}x{side} window; a picture of {x.shape[-3:-1]} has no room.")
        bell = np.exp(-0.5 * (np.arange(-self.radius, self.radius + 1) / self.std) ** 2)
        taps = tuple(float(t) for t in bell / bell.sum())
        mean_1, mean_2 = correlate_valid(x_hat, taps), correlate_valid(x, taps)
        # Variances about a common mid-grey, which costs nothing and keeps float32's digits.
        d_1, d_2 = x_hat - 0.5, x - 0.5
        m_1, m_2 = mean_1 - 0.5, mean_2 - 0.5
        var_1 = correlate_valid(d_1 * d_1, taps) - m_1 * m_1
        var_2 = correlate_valid(d_2 * d_2, taps) - m_2 * m_2
        cov = correlate_valid(d_1 * d_2, taps) - m_1 * m_2
        c_1, c_2 = 0.01**2, 0.03**2
        luminance = (2 * mean_1 * mean_2 + c_1) / (mean_1**2 + mean_2**2 + c_1)
        structure = (2 * cov + c_2) / (var_1 + var_2 + c_2)
        return jnp.mean(luminance * structure, axis=(-3, -2, -1))


EXAMPLES = ({"name": "metrics.ssim.Ssim"},)
