"""Joint demosaicking and denoising: from a noisy Bayer mosaic at any ISO to clean linear RGB.

python -m experiments.train --config configs/zoo/raw.py:PHOTOGRAPHS --workdir outputs/zoo/raw \\
    --config.start outputs/zoo/denoise

The net is given what linear demosaicking makes of the mosaic, white balance done, in the curve of sRGB, and answers in
that curve (`degrade.raw.Demosaicked`). It is not told the ISO: the noise of every channel is to be seen. It starts
from the denoiser while that has one block a level.
"""

from ml_collections import ConfigDict

from configs.zoo import recipe, regression
from configs.zoo.denoise import NET


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="raw",
        images=10_000,
        crop_px=80,
        degrade={"name": "degrade.raw.Demosaicked"},
        method=regression(NET, "Residual"),
    )
