"""A run small enough to start many times: one 3x3-net on 16-pixel crops, two steps of which take milliseconds."""

from typing import Any

TINY_NET = {"name": "nets.unet.UNet", "width": 4, "multipliers": (1,), "blocks": 1, "patch": 2, "embed": 4}
NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}
DIFFUSION = {
    "name": "methods.regression.Regression",
    "net": TINY_NET,
    "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
    "target": {"name": "targets.denoise.Denoise", "sigma_data": 0.1},
    "metric": {"name": "metrics.pixel.Mse"},
    "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (1.0,), "start": "image"},
}


def tiny_config(**fields: Any) -> dict[str, Any]:
    return {
        "train_set": {"name": "data.sets.embedded.Embedded", "split": "heldout"},
        "degrade": NOISE,
        "method": DIFFUSION,
        "optim": {"name": "train.optim.AdamW", "rate": 1e-3},
        "label": "tiny",
        "images": 32,
        "batch_size": 4,
        "crop_px": 16,
        "ema_half_life_images": 16,
        "log_every_images": 4,
        "checkpoint_every_images": 8,
        "preview_every_images": 32,
        **fields,
    }
