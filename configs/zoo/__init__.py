"""The shipped models: one recipe a file, each trained on freely licensed photographs alone.

    python -m experiments.train --config configs/zoo/denoise.py:PHOTOGRAPHS --workdir outputs/zoo/denoise
    restore-jax pack outputs/zoo/denoise -o restore_jax/zoo/denoise --task denoise --licence ...

PHOTOGRAPHS is a folder; what stands after the colon of a config is its argument. The budgets (`images`) are those of
some hours on two CPU cores for all models together. Whoever has more goes on from what is shipped:
`--config.start denoise --config.images 400000`.
"""

from ml_collections import ConfigDict

from configs.fragments import run

CHARBONNIER = {"name": "metrics.pixel.Charbonnier", "eps": 1e-3}
AT_ONCE = {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"}


# A photograph from the wild at its own size, milder than Real-ESRGAN's, whose y is four times smaller than x.
SNAPSHOT = {
    "name": "degrade.blind.RealEsrgan",
    "scale": 1,
    "first": {
        "name": "degrade.blind.Stage",
        "std": (0.2, 2.0),
        "resize": (0.5, 1.2),
        "gaussian": (1 / 255, 20 / 255),
        "poisson": (0.05, 2.0),
        "quality": (40.0, 95.0),
    },
    "second": {
        "name": "degrade.blind.Stage",
        "blur_probability": 0.5,
        "std": (0.2, 1.0),
        "resize": (0.6, 1.2),
        "gaussian": (1 / 255, 10 / 255),
        "poisson": (0.05, 1.0),
        "quality": (40.0, 95.0),
    },
    "sinc_probability": 0.3,
}


def regression(net: dict[str, object], precondition: str, scale: int = 1) -> dict[str, object]:
    """The method that all of the plain restorers share."""
    return {
        "name": "methods.regression.Regression",
        "scale": scale,
        "net": net,
        "precondition": {"name": f"diffusion.precondition.{precondition}"},
        "target": {"name": "targets.clean.Clean"},
        "metric": CHARBONNIER,
        "sampler": AT_ONCE,
    }


def recipe(photographs: str, **fields: object) -> ConfigDict:
    """The fields that the recipes share, with `fields` on top."""
    shared = {
        "train_set": {"name": "data.sets.folder.Folder", "path": photographs or "photographs"},
        "batch_size": 4,  # the budget is small: many steps of few crops
        "optim": {"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 2_000},
        "ema_half_life_images": 2_000,
        "log_every_images": 1_600,
        "checkpoint_every_images": 8_000,
        "preview_every_images": 16_000,
    }
    return run(**{**shared, **fields})


def of_photographs(config: ConfigDict, label: str, photographs: str, images: int) -> ConfigDict:
    """A recipe for the embedded photographs as one for a folder of them, and for longer."""
    with config.unlocked():
        config.train_set = ConfigDict({"name": "data.sets.folder.Folder", "path": photographs or "photographs"})
    config.label, config.images, config.batch_size = label, images, 8
    config.ema_half_life_images = 2_000
    config.log_every_images, config.checkpoint_every_images, config.preview_every_images = 1_600, 8_000, 16_000
    config.optim.warmup_images = 2_000
    return config


def super_resolution(photographs: str, scale: int, images: int, blocks: int = 6) -> ConfigDict:
    """The recipe of the models that enlarge: crops that are 32 pixels before they are.

    A net at the size of y that corrects what cubic interpolation makes of y: it begins where that ends.
    """
    net = {"name": "nets.unet.UNet", "width": 40, "multipliers": (1,), "blocks": blocks, "patch": scale, "embed": 0}
    return recipe(
        photographs,
        label=f"sr{scale}",
        images=images,
        batch_size=8,
        crop_px=32 * scale,
        degrade={"name": "degrade.downsample.Downsample", "scale": scale},
        method=regression(net, "Residual", scale),
    )
