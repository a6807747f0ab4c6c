"""Repair of JPEG pictures of any quality from 5 to 95.

python -m experiments.train --config configs/zoo/jpeg.py:PHOTOGRAPHS --workdir outputs/zoo/jpeg \\
    --config.start outputs/zoo/denoise

It starts from the denoiser, net and all.
"""

from ml_collections import ConfigDict

from configs.zoo import recipe, regression
from configs.zoo.denoise import NET


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="jpeg",
        images=24_000,
        crop_px=80,
        degrade={"name": "degrade.compress.Jpeg", "quality": (5.0, 95.0)},
        method=regression(NET | {"blocks": 2}, "Residual"),
    )
