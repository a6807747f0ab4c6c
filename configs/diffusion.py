"""Diffusion: the U-Net learns to denoise the residual x - cond["image"] at all levels; the teacher.

python -m experiments.train --config configs/diffusion.py --workdir outputs/diffusion
"""

from ml_collections import ConfigDict

from configs.fragments import EDM, LEVELS, SCHEDULE, SIGMA_DATA, UNET, run


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="diffusion",
        images=10_000,
        method={
            "name": "methods.regression.Regression",
            "scale": 2,
            "net": UNET,
            "precondition": EDM,
            "target": {"name": "targets.denoise.Denoise", "levels": LEVELS, "sigma_data": SIGMA_DATA},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {
                "name": "diffusion.sampler.Ode",
                "step": {"name": "diffusion.solver.Heun"},
                "schedule": SCHEDULE,
                "n_steps": 9,
                "start": "image",
            },
        },
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 800},
    )
