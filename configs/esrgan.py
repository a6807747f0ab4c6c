"""A small ESRGAN: from the net trained for PSNR to one whose pictures have texture, in minutes of one core.

python -m experiments.train --config configs/gan_regression.py --workdir outputs/gan_regression
python -m experiments.train --config configs/esrgan.py --workdir outputs/esrgan --config.start outputs/gan_regression

`python -m experiments.gan` does both for three seeds, and measures. The paper's three parts of the generator's loss
(pixel, features, relativistic average) with its baseline's net made small, a patch discriminator that sees no pairs,
and the features of `metrics.perceptual`, of which four stages are trained on and all are measured.
"""

from ml_collections import ConfigDict

from configs.fragments import run
from configs.gan_regression import DEGRADE, NET, PRECONDITION, SAMPLER, SCALE

TRAINED_STAGES = (0, 1, 2, 4)


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="esrgan",
        images=4_000,
        batch_size=8,
        crop_px=64,
        degrade=DEGRADE,
        method={
            "name": "methods.gan.Gan",
            "scale": SCALE,
            "net": NET,
            "precondition": PRECONDITION,
            "sampler": SAMPLER,
            "losses": (
                {"name": "methods.gan.Term", "metric": {"name": "metrics.pixel.Charbonnier"}, "weight": 1.0},
                {
                    "name": "methods.gan.Term",
                    "metric": {"name": "metrics.perceptual.Perceptual", "stages": TRAINED_STAGES},
                    "weight": 1.0,
                },
            ),
            "rival": {
                "name": "methods.rival.Rival",
                "discriminator": {
                    "name": "nets.discriminator.PatchDiscriminator",
                    "width": 24,
                    "strides": 2,
                    "spectral": True,
                },
                "rivalry": {"name": "methods.rivalry.Relativistic"},
                "weight": 0.01,
                "sees": False,
            },
        },
        optim={
            "name": "train.optim.Players",
            "optims": {
                "generator": {"name": "train.optim.AdamW", "rate": 3e-4, "final": 0.1},
                "discriminator": {"name": "train.optim.AdamW", "rate": 3e-4, "final": 0.1},
            },
        },
        log_every_images=160,
        checkpoint_every_images=1_000,
    )
