"""Blind super-resolution by 4: NAFNet learns to undo the second-order degradation of Real-ESRGAN.

python -m experiments.train --config configs/blind.py --workdir outputs/blind
"""

from ml_collections import ConfigDict

from configs.fragments import NAFNET, run


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="blind",
        images=500_000,
        batch_size=16,
        crop_px=256,
        degrade={"name": "degrade.blind.RealEsrgan", "scale": 4},
        method={
            "name": "methods.regression.Regression",
            "scale": 4,
            "net": NAFNET,
            "precondition": {"name": "diffusion.precondition.Residual"},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Charbonnier", "eps": 1e-3},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
        },
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 8_000},
    )
