"""Super-resolution by 4 of photographs that were reduced as MATLAB does it.

python -m experiments.train --config configs/zoo/sr4.py:PHOTOGRAPHS --workdir outputs/zoo/sr4
"""

from ml_collections import ConfigDict

from configs.zoo import recipe, regression

SCALE = 4
NET = {"name": "nets.span.SPAN", "width": 32, "blocks": 6, "scale": SCALE, "deploy": True}


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="sr4",
        images=600_000,
        batch_size=16,
        crop_px=192,
        degrade={"name": "degrade.downsample.Downsample", "scale": SCALE},
        method=regression(NET, "Direct", SCALE),
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 8_000},
    )
