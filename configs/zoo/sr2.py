"""Super-resolution by 2 of photographs that were reduced as MATLAB does it.

python -m experiments.train --config configs/zoo/sr2.py:PHOTOGRAPHS --workdir outputs/zoo/sr2
"""

from ml_collections import ConfigDict

from configs.zoo import recipe, regression

SCALE = 2
NET = {"name": "nets.span.SPAN", "width": 32, "blocks": 6, "scale": SCALE, "deploy": True}


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="sr2",
        images=600_000,
        batch_size=16,
        crop_px=96,
        degrade={"name": "degrade.downsample.Downsample", "scale": SCALE},
        method=regression(NET, "Direct", SCALE),
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 8_000},
    )
