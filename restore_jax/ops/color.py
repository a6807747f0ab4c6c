"""Colour: linear maps between RGB and luma/chroma."""

import jax.numpy as jnp
from jaxtyping import Array, Float

# ITU-R BT.601: the luma that video, JPEG and the restoration literature mean by Y.
BT601 = (0.299, 0.587, 0.114)


def luma(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """Full-range luma `0.299 R + 0.587 G + 0.114 B`; grey in, the same grey out.

    Reference: ITU-R BT.601-7, section 2.5.1.
    """
    return jnp.sum(x * jnp.asarray(BT601, x.dtype).reshape((1,) * (x.ndim - 1) + (3,)), axis=-1, keepdims=True)


def studio_luma(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """MATLAB's `rgb2ycbcr` luma in [16, 235] / 255, on which papers report "PSNR-Y".

    `Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255` for R, G, B in [0, 1].

    Reference: ITU-R BT.601-7, section 2.5.3 (studio swing).
    """
    weights = jnp.asarray((65.481, 128.553, 24.966), x.dtype).reshape((1,) * (x.ndim - 1) + (3,))
    return (16.0 + jnp.sum(x * weights, axis=-1, keepdims=True)) / 255.0
