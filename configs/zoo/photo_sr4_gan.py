"""Super-resolution by 4 of photographs from the wild that looks real: a GAN of the net of `configs/zoo/photo_sr4.py`.

python -m experiments.train --config configs/zoo/photo_sr4_gan.py:PHOTOGRAPHS --workdir outputs/zoo/photo_sr4_gan \\
    --config.start outputs/zoo/photo_sr4

Losses of `configs/esrgan.py`: pixels, features, and a rival that sees no pairs. The rival sees through a net that was
trained on ImageNet: in 300 steps of 8 crops the texture it asks for was there, where a patch discriminator of
`configs/esrgan.py` had only begun. All see the pictures from a place drawn anew (`methods.view`). Features pay for a
mesh of two to four pixels (docs/decisions/0023): what a picture has more of than the photograph, at any period, is a
loss of its own, `metrics.spectrum`.

What is shipped came of four runs, each from the one before (`--config.start`, `--config.images`): 14,000 crops at a
weight of 5 for colours, which left 2/255 of blue behind, 4,000 at 20 and 3,000 at 100, all at a weight of 1 for pixels,
and 30,000 as it is written here.
"""

from ml_collections import ConfigDict

from configs import esrgan
from configs.zoo import photo_sr4

RIVAL = {
    "name": "methods.rival.Rival",
    "discriminator": {"name": "nets.projected.ProjectedDiscriminator", "width": 24},
    "rivalry": {"name": "methods.rivalry.Relativistic"},
    "weight": 0.05,
    "sees": False,
}


def get_config(photographs: str = "") -> ConfigDict:
    config = photo_sr4.get_config(photographs)
    contest, regression = esrgan.get_config(), config.method
    with config.unlocked(), contest.method.unlocked():
        config.method = contest.method
        for name in ("net", "precondition", "sampler"):
            config.method[name] = regression[name]
        config.method.rival = ConfigDict(RIVAL)
        config.optim = contest.optim
    config.optim.optims.discriminator.rate = 1e-3
    config.label = "photo_sr4_gan"
    config.images, config.batch_size, config.crop_px = 14_000, 8, 96
    config.ema_half_life_images = 1_000
    config.log_every_images, config.checkpoint_every_images = 400, 2_000
    return config
