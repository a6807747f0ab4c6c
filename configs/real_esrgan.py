"""Real-ESRGAN: the second-order degradation, a U-Net discriminator with spectral norm, and the artifact penalty.

python -m experiments.train --config configs/blind.py --workdir outputs/blind
python -m experiments.train --config configs/real_esrgan.py --workdir outputs/real_esrgan --config.start outputs/blind

The net is that of `configs/blind.py`, its regression. Losses as in the paper (1, 1, 0.1), the features being those of
`metrics.perceptual`; and the artifact penalty of Liang et al. 2022.
"""

from ml_collections import ConfigDict

from configs.fragments import NAFNET, run


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="real_esrgan",
        images=200_000,
        batch_size=16,
        crop_px=256,
        degrade={"name": "degrade.blind.RealEsrgan", "scale": 4},
        method={
            "name": "methods.gan.Gan",
            "scale": 4,
            "net": NAFNET,
            "precondition": {"name": "diffusion.precondition.Residual"},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
            "losses": (
                {"name": "methods.gan.Term", "metric": {"name": "metrics.pixel.Charbonnier"}, "weight": 1.0},
                {
                    "name": "methods.gan.Term",
                    "metric": {"name": "metrics.perceptual.Perceptual", "stages": (0, 1, 2, 4)},
                    "weight": 0.1,
                },
            ),
            "rival": {
                "name": "methods.rival.Rival",
                "discriminator": {"name": "nets.discriminator.UNetDiscriminator", "width": 32},
                "rivalry": {"name": "methods.rivalry.Vanilla"},
                "weight": 0.01,
                "sees": False,
            },
            "artifacts": 1.0,
        },
        optim={
            "name": "train.optim.Players",
            "optims": {
                "generator": {"name": "train.optim.AdamW", "rate": 1e-4, "warmup_images": 1_600},
                "discriminator": {"name": "train.optim.AdamW", "rate": 1e-4, "warmup_images": 1_600},
            },
        },
        log_every_images=1_600,
        checkpoint_every_images=16_000,
        preview_every_images=16_000,
    )
