"""Super-resolution by 4 of photographs from the wild, for PSNR: where `configs/zoo/photo_sr4_gan.py` starts.

python -m experiments.train --config configs/zoo/photo_sr4.py:PHOTOGRAPHS --workdir outputs/zoo/photo_sr4 \\
    --config.start outputs/zoo/sr4
"""

from ml_collections import ConfigDict

from configs.zoo import SNAPSHOT, super_resolution


def get_config(photographs: str = "") -> ConfigDict:
    config = super_resolution(photographs, 4, images=18_000)
    with config.unlocked():
        config.method.net.refine = (
            16  # the rival of the GAN that starts here would bring out the grid of unfolded pixels
        )
        config.degrade = ConfigDict({**SNAPSHOT, "scale": 4})
    config.label = "photo_sr4"
    return config
