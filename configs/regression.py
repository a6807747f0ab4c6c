"""Supervised regression: the U-Net learns E[x | y] with a Charbonnier loss.

python -m experiments.train --config configs/regression.py --workdir outputs/regression
"""

from ml_collections import ConfigDict

from configs.fragments import UNET, run


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="regression",
        images=5_000,
        method={
            "name": "methods.regression.Regression",
            "scale": 2,
            "net": UNET | {"embed": 0},
            "precondition": {"name": "diffusion.precondition.Residual"},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Charbonnier", "eps": 1e-3},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
        },
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 800},
    )
