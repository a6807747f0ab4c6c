"""Blind denoising of colour photographs: Gaussian noise of any level up to 75/255, or a sensor's.

python -m experiments.train --config configs/zoo/denoise.py:PHOTOGRAPHS --workdir outputs/zoo/denoise

A U-Net that begins at half the resolution, with four pixels' colours in each place; it is local, so that a photograph
is restored in tiles, exactly. After 3,200 crops it was 1.9 dB ahead of a NAFNet of as many parameters, whose blocks
begin as nothing and take their time. What is shipped had one block a level (NET,
`--config.method.net.blocks 1`) for its first 128,000 crops, and so have `raw` and `photo`, which start from it; the
second block began as nothing, 44,000 crops ago (`--config.start denoise`).
"""

from ml_collections import ConfigDict

from configs.zoo import recipe, regression

NET = {"name": "nets.unet.UNet", "width": 48, "multipliers": (1, 2, 2), "blocks": 1, "patch": 2, "embed": 0}

# One crop in four has the noise of light and of readout, whose level goes with the brightness.
NOISE = {
    "name": "degrade.choice.Choice",
    "options": (
        {"name": "degrade.noise.Gaussian", "std": (0.0, 75 / 255)},
        {"name": "degrade.noise.SignalDependent", "shot": (0.0, 0.05), "read": (0.0, 0.1)},
    ),
    "weights": (0.75, 0.25),
}


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        label="denoise",
        images=48_000,
        crop_px=80,
        degrade=NOISE,
        method=regression(NET | {"blocks": 2}, "Residual"),
    )
