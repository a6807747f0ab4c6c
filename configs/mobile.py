"""A small net for phones: ECBSR M4C16 in its deployed form, super-resolution by 2.

    python -m experiments.train --config configs/mobile.py:PHOTOGRAPHS --workdir outputs/mobile

PHOTOGRAPHS is a folder; without it, the photographs that come with the library.
"""

from ml_collections import ConfigDict

from configs.fragments import run

ECBSR = {"name": "nets.ecbsr.ECBSR", "width": 16, "blocks": 4, "scale": 2, "deploy": True}


def recipe(photographs: str, net: dict[str, object], **fields: object) -> ConfigDict:
    """What training and fine-tuning share: crops of 48 pixels before they are enlarged."""
    here = {"train_set": {"name": "data.sets.folder.Folder", "path": photographs}} if photographs else {}
    return run(
        **here,
        batch_size=16,
        crop_px=96,
        degrade={"name": "degrade.downsample.Downsample", "scale": 2},
        method={
            "name": "methods.regression.Regression",
            "scale": 2,
            "net": net,
            "precondition": {"name": "diffusion.precondition.Direct"},
            "target": {"name": "targets.clean.Clean"},
            "metric": {"name": "metrics.pixel.Charbonnier", "eps": 1e-3},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
        },
        ema_half_life_images=4_000,
        log_every_images=3_200,
        checkpoint_every_images=16_000,
        preview_every_images=32_000,
        **fields,
    )


def get_config(photographs: str = "") -> ConfigDict:
    return recipe(
        photographs,
        ECBSR,
        label="mobile",
        images=96_000,
        optim={"name": "train.optim.AdamW", "rate": 2e-3, "warmup_images": 4_000},
    )
