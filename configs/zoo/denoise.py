"""Blind denoising of colour photographs: Gaussian noise of any level up to 75/255.

python -m experiments.train --config configs/zoo/denoise.py:PHOTOGRAPHS --workdir outputs/zoo/denoise

Half the resolution is enough for most of the net: at the first level of four it has a single block, and its widest
part sees an eighth of the pixels of each side.
"""

from ml_collections import ConfigDict

from configs.zoo import recipe, regression

NET = {
    "name": "nets.nafnet.NAFNet",
    "width": 24,
    "enc_blocks": (1, 1, 2),
    "middle_blocks": 2,
    "dec_blocks": (1, 1, 1),
    "attention": False,  # a photograph is restored in tiles, exactly
}


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="denoise",
        images=48_000,
        batch_size=16,
        crop_px=80,
        degrade={"name": "degrade.noise.Gaussian", "std": (0.0, 75 / 255)},
        method=regression(NET, "Residual"),
    )
