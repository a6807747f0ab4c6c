"""Pieces that several configs share: strings, numbers and dicts only."""

from ml_collections import ConfigDict

# The task of the first pages: blur, half the size, noise of sigma 25. `scale` is 2.
BLUR_X2_NOISE25 = {
    "name": "degrade.chain.Chain",
    "steps": (
        {"name": "degrade.blur.GaussianBlur", "std": 1.0},
        {"name": "degrade.downsample.Downsample", "scale": 2},
        {"name": "degrade.noise.Gaussian", "std": 25 / 255},
    ),
}

UNET = {"name": "nets.unet.UNet", "width": 48, "multipliers": (1, 2, 2), "blocks": 1, "patch": 2, "embed": 64}

NAFNET = {
    "name": "nets.nafnet.NAFNet",
    "width": 32,
    "enc_blocks": (1, 1, 2),
    "middle_blocks": 2,
    "dec_blocks": (1, 1, 1),
}

# The residual x - cond["image"] of the task above has a standard deviation of about 0.1 (embedded photographs).
SIGMA_DATA = 0.1
EDM = {"name": "diffusion.precondition.Edm", "sigma_data": SIGMA_DATA, "around": "image"}
# EDM's levels for deviation 0.1 would have mean -2.8; given y, what is left to decide is decided above sigma 0.1.
LEVELS = {"name": "diffusion.schedule.LogNormal", "mean": -1.6, "std": 1.2}
SCHEDULE = {"name": "diffusion.schedule.Karras", "sigma_min": 0.002, "sigma_max": 1.0, "rho": 7.0}


def run(**fields: object) -> ConfigDict:
    """The fields that the three recipes share, with `fields` on top; locked against misspelling."""
    shared = {
        "train_set": {"name": "data.sets.embedded.Embedded", "split": "train"},
        "heldout_set": {"name": "data.sets.embedded.Embedded", "split": "heldout"},
        "degrade": BLUR_X2_NOISE25,
        "seed": 0,
        "batch_size": 8,
        "crop_px": 64,
        "ema_half_life_images": 1_000,
        "parallel": {"name": "train.parallel.Single"},
        "start": "",
        "teacher": "",
        "log_every_images": 320,
        "checkpoint_every_images": 1_000,
        "preview_every_images": 2_000,
        "retain": {"name": "train.retain.Retain", "latest": 2, "best": 0},
        "steps_per_dispatch": 1,
    }
    return ConfigDict({**shared, **fields}).lock()
