"""Super-resolution by 4 of photographs from the wild that looks real: a GAN of the net of `configs/zoo/photo_sr4.py`.

python -m experiments.train --config configs/zoo/photo_sr4_gan.py:PHOTOGRAPHS --workdir outputs/zoo/photo_sr4_gan \\
    --config.start outputs/zoo/photo_sr4

Losses of `configs/esrgan.py`: pixels, features, and a patch discriminator that sees no pairs.
"""

from ml_collections import ConfigDict

from configs import esrgan
from configs.zoo import photo_sr4


def get_config(photographs: str = "") -> ConfigDict:
    config = photo_sr4.get_config(photographs)
    contest, regression = esrgan.get_config(), config.method
    with config.unlocked():
        config.method = contest.method
        for name in ("net", "precondition", "sampler"):
            config.method[name] = regression[name]
        config.optim = contest.optim
    config.label = "photo_sr4_gan"
    config.images, config.batch_size, config.crop_px = 6_000, 8, 128
    config.log_every_images, config.checkpoint_every_images = 400, 2_000
    return config
