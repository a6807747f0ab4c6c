"""Where a GAN starts: super-resolution by 4 of photographs without noise, for PSNR.

python -m experiments.train --config configs/gan_regression.py --workdir outputs/gan_regression

NET, SAMPLER and DEGRADE are those of `configs/esrgan.py`, which goes on from here.
"""

from ml_collections import ConfigDict

from configs.fragments import run

SCALE = 4
# With convolutions after the pixels are made: one that ends in a pixel shuffle learns a grid from a rival.
NET = {"name": "nets.edsr.MSRResNet", "width": 32, "blocks": 6, "scale": SCALE}
PRECONDITION = {"name": "diffusion.precondition.Direct"}
SAMPLER = {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"}
DEGRADE = {"name": "degrade.downsample.Downsample", "scale": SCALE}


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="gan_regression",
        images=12_000,
        batch_size=8,
        crop_px=64,
        degrade=DEGRADE,
        method={
            "name": "methods.regression.Regression",
            "scale": SCALE,
            "net": NET,
            "precondition": PRECONDITION,
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Charbonnier", "eps": 1e-3},
            "sampler": SAMPLER,
        },
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 800},
        checkpoint_every_images=2_000,
    )
