"""Blind repair of photographs: noise, blur, JPEG and lost resolution in any order, at the size that they have.

python -m experiments.train --config configs/zoo/photo.py:PHOTOGRAPHS --workdir outputs/zoo/photo \\
    --config.start outputs/zoo/denoise

It starts from the denoiser while that has one block a level: half of what it must learn is there. In the tables of the
zoo it is the regression beside `photo_teacher` and `photo_student`, which learn the same damage.
"""

from ml_collections import ConfigDict

from configs.zoo import SNAPSHOT, recipe, regression
from configs.zoo.denoise import NET


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="photo",
        images=30_000,
        crop_px=80,
        degrade=SNAPSHOT,
        method=regression(NET, "Residual"),
    )
