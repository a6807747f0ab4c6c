"""A prior for zero-shot samplers: the U-Net learns to denoise photographs at all levels, and sees nothing else.

    python -m experiments.train --config configs/prior.py --workdir outputs/prior

About a quarter of an hour on two CPU cores. `methods.zero_shot.ZeroShot` puts it behind any operator.
"""

from ml_collections import ConfigDict

from configs.fragments import UNET, run


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="prior",
        images=24_000,
        degrade={"name": "degrade.noise.Gaussian", "std": 0.0},  # nothing is done to the pictures
        method={
            "name": "methods.regression.Regression",
            "net": UNET | {"multipliers": (1, 2, 3)},
            "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.25, "around": "grey", "sees": ()},
            "target": {
                "name": "targets.denoise.Denoise",
                "levels": {"name": "diffusion.schedule.LogNormal", "mean": -1.9, "std": 1.5},
                "sigma_data": 0.25,
            },
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {
                "name": "diffusion.sampler.Ode",
                "step": {"name": "diffusion.solver.Heun"},
                "schedule": {"name": "diffusion.schedule.Karras", "sigma_min": 0.002, "sigma_max": 20.0},
                "n_steps": 18,
            },
        },
        optim={"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 800},
        preview_every_images=10_000,
        checkpoint_every_images=2_000,
    )
