"""Structural similarity, at one scale and at several."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import check_border, compared
from restore_jax.ops.filter import correlate_valid


@dataclass(frozen=True)
class Ssim:
    """Mean SSIM over all positions of an 11x11 Gaussian window (std 1.5) wholly inside the picture.

    `((2 mu_1 mu_2 + c_1)(2 cov + c_2)) / ((mu_1^2 + mu_2^2 + c_1)(var_1 + var_2 + c_2))`, averaged over
    positions and channels, for pictures in [0, 1]; 1 for equal ones. Equal to scikit-image's
    `structural_similarity(gaussian_weights=True, use_sample_covariance=False)`. With `luma` and `border_px` as
    `metrics.psnr.Psnr` has them it is the "SSIM-Y" of the super-resolution literature.

    Raises ValueError for a side below 11 pixels, and as `Psnr` does. Cost: five separable filters of 22 taps.

    Reference: Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity", eq. 13-16, K1 = 0.01, K2 = 0.03.
    """

    std: float = 1.5
    radius: int = 5
    luma: bool = False
    border_px: int = 0

    def __post_init__(self):
        _check_window("Ssim", self.std, self.radius)
        check_border("Ssim", self.border_px)

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, at most 1."""
        x_hat, x = compared("Ssim", x_hat, x, self.luma, self.border_px)
        side = 2 * self.radius + 1
        if min(x.shape[-3:-1]) < side:
            raise ValueError(f"SSIM looks through a {side}x{side} window; a picture of {x.shape[-3:-1]} has no room.")
        luminance, structure = _similarity(x_hat, x, self.std, self.radius)
        return jnp.mean(luminance * structure, axis=(-3, -2, -1))


@dataclass(frozen=True)
class MsSsim:
    """SSIM over several scales: structure at each of them, and luminance at the coarsest alone.

        product over scales k of max(mean_k, 0)^weights[k],    x halved from scale to scale (2x2 means)

    with `mean_k` the mean over positions of SSIM's second factor, at the last scale of both; each channel apart, then
    their mean. 1 for equal pictures; 0 where the structure of every channel is negative at some scale, as it is for
    pictures that have nothing to do with one another, and the gradient is 0 there. Equal to piq's `multi_scale_ssim`
    where sides halve evenly; an odd one repeats its last row or column first, as the authors' symmetric padding does.

    Raises ValueError for a side below 161 pixels (11 at the coarsest of five scales), and as `Psnr` does.

    Reference: Wang, Simoncelli & Bovik 2003, "Multi-scale structural similarity for image quality assessment", eq. 7.
    """

    weights: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    std: float = 1.5
    radius: int = 5
    luma: bool = False
    border_px: int = 0

    def __post_init__(self):
        _check_window("MsSsim", self.std, self.radius)
        check_border("MsSsim", self.border_px)
        if not self.weights or not all(w > 0 for w in self.weights):
            raise ValueError(f"MsSsim.weights are numbers above 0, one a scale, not {self.weights}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture, from 0 to 1."""
        x_hat, x = compared("MsSsim", x_hat, x, self.luma, self.border_px)
        smallest = 2 * self.radius * 2 ** (len(self.weights) - 1) + 1
        if min(x.shape[-3:-1]) < smallest:
            raise ValueError(
                f"MS-SSIM of {len(self.weights)} scales needs sides of {smallest} pixels, not {x.shape[-3:-1]}: "
                "give MsSsim fewer weights."
            )
        product = jnp.ones((), x.dtype)
        for k, weight in enumerate(self.weights):
            luminance, structure = _similarity(x_hat, x, self.std, self.radius)
            last = k + 1 == len(self.weights)
            mean = jnp.mean(luminance * structure if last else structure, axis=(-3, -2))
            # The power sees no number at or below 0, where its slope is infinite or none.
            factor = jnp.where(mean > 0, jnp.where(mean > 0, mean, 1.0) ** weight, 0.0)
            product = factor if k == 0 else product * factor
            if not last:
                x_hat, x = _halved(x_hat), _halved(x)
        return jnp.mean(product, axis=-1)


def _check_window(name: str, std: float, radius: int) -> None:
    if not std > 0 or radius < 1:
        raise ValueError(f"{name} needs std > 0 and radius >= 1, not std = {std} and radius = {radius}.")


def _similarity(x_hat: Array, x: Array, std: float, radius: int) -> tuple[Array, Array]:
    """SSIM's two factors at each position of the window: of the means, and of contrast and structure."""
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / std) ** 2)
    taps = tuple(float(t) for t in bell / bell.sum())
    # Variances about a common mid-grey, which costs nothing and keeps float32's digits.
    d_1, d_2 = x_hat - 0.5, x - 0.5
    # One filter over five times the channels: a fifth of the program to compile.
    seen = correlate_valid(jnp.concatenate([x_hat, x, d_1 * d_1, d_2 * d_2, d_1 * d_2], axis=-1), taps)
    mean_1, mean_2, square_1, square_2, product = jnp.split(seen, 5, axis=-1)
    m_1, m_2 = mean_1 - 0.5, mean_2 - 0.5
    var_1, var_2, cov = square_1 - m_1 * m_1, square_2 - m_2 * m_2, product - m_1 * m_2
    c_1, c_2 = 0.01**2, 0.03**2
    luminance = (2 * mean_1 * mean_2 + c_1) / (mean_1**2 + mean_2**2 + c_1)
    return luminance, (2 * cov + c_2) / (var_1 + var_2 + c_2)


def _halved(x: Array) -> Array:
    h, w = x.shape[-3:-1]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(0, h % 2), (0, w % 2), (0, 0)], mode="edge")
    for axis in (x.ndim - 3, x.ndim - 2):
        n = x.shape[axis]
        x = 0.5 * (jax.lax.slice_in_dim(x, 0, n, 2, axis) + jax.lax.slice_in_dim(x, 1, n, 2, axis))
    return x


EXAMPLES = (
    {"name": "metrics.ssim.Ssim"},
    {"name": "metrics.ssim.MsSsim", "weights": (0.4, 0.6), "std": 0.8, "radius": 2},
)
