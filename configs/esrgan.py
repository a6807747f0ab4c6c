"""A small ESRGAN: from the net trained for PSNR to one whose pictures have texture, in minutes of one core.

python -m experiments.train --config configs/gan_regression.py --workdir outputs/gan_regression
python -m experiments.train --config configs/esrgan.py --workdir outputs/esrgan --config.start outputs/gan_regression

`python -m experiments.gan` does both for three seeds, and measures. The paper's three parts of the generator's loss
(pixel, features, relativistic average) with its baseline's net made small, a patch discriminator that sees no pairs,
and the features of `metrics.perceptual`. What the paper has not: all is seen from a place drawn anew (`methods.view`),
colours are held, and what a picture has more of than the photograph, at any period, is a loss (`metrics.spectrum`), for
features pay for a mesh (docs/decisions/0023).
"""

from ml_collections import ConfigDict

from configs.fragments import run
from configs.gan_regression import DEGRADE, NET, PRECONDITION, SAMPLER, SCALE

VIEW = {"name": "methods.view.View"}
# Features weigh most: what they ask for can be seen in y, and half of what a rival asks for cannot.
LOSSES = (
    {"name": "methods.gan.Term", "metric": {"name": "metrics.pixel.Charbonnier"}, "weight": 0.25},
    {"name": "methods.gan.Term", "metric": {"name": "metrics.perceptual.Perceptual"}, "weight": 5.0},
    {"name": "methods.gan.Term", "metric": {"name": "metrics.colour.Colour"}, "weight": 100.0},
    {"name": "methods.gan.Term", "metric": {"name": "metrics.spectrum.Spectrum", "excess": True}, "weight": 600.0},
)


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="esrgan",
        images=10_000,
        batch_size=8,
        crop_px=64,
        degrade=DEGRADE,
        method={
            "name": "methods.gan.Gan",
            "scale": SCALE,
            "net": NET,
            "precondition": PRECONDITION,
            "sampler": SAMPLER,
            "losses": LOSSES,
            "view": VIEW,
            "rival": {
                "name": "methods.rival.Rival",
                "discriminator": {
                    "name": "nets.discriminator.PatchDiscriminator",
                    "width": 24,
                    "strides": 2,
                    "spectral": True,
                },
                "rivalry": {"name": "methods.rivalry.Relativistic"},
                "weight": 0.02,
                "sees": False,
            },
        },
        optim={
            "name": "train.optim.Players",
            "optims": {
                "generator": {"name": "train.optim.AdamW", "rate": 6e-4, "final": 0.1},
                "discriminator": {"name": "train.optim.AdamW", "rate": 6e-4, "final": 0.1},
            },
        },
        log_every_images=160,
        checkpoint_every_images=2_000,
    )
