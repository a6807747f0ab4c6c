"""Super-resolution by 4 of photographs from the wild, for PSNR: where `configs/zoo/photo_sr4_gan.py` starts.

python -m experiments.train --config configs/zoo/photo_sr4.py:PHOTOGRAPHS --workdir outputs/zoo/photo_sr4 \\
    --config.start outputs/zoo/sr4

The colours' part of the loss is for what a loss of pixels allows: without it, 1/255 of blue was gone from a photograph.
"""

from ml_collections import ConfigDict

from configs.zoo import CHARBONNIER, SNAPSHOT, super_resolution

# Pixel by pixel, the median of what a picture may have been can differ from it in colour.
NO_CAST = {
    "name": "metrics.total.Total",
    "metrics": (CHARBONNIER, {"name": "metrics.colour.Colour"}),
    "weights": (1.0, 2.0),
}


def get_config(photographs: str = "") -> ConfigDict:
    config = super_resolution(photographs, 4, images=18_000)
    with config.unlocked():
        # The rival of the GAN that starts here would bring out the grid of unfolded pixels.
        config.method.net.refine = 16
        config.method.metric = ConfigDict(NO_CAST)
        config.degrade = ConfigDict({**SNAPSHOT, "scale": 4})
    config.label = "photo_sr4"
    return config
