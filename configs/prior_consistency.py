"""A consistency prior: `configs/prior.py`'s network is tuned until one question is enough.

    python -m experiments.train --config configs/prior_consistency.py --workdir outputs/prior_consistency \\
        --config.start outputs/prior

About ten minutes on two CPU cores. `diffusion.posterior.cm4ir` restores with it in one to four evaluations.
"""

from ml_collections import ConfigDict

from configs import prior


def get_config(arg: str = "") -> ConfigDict:
    config = prior.get_config(arg)
    config.label = "prior_consistency"
    config.images = 10_000
    config.method.target = ConfigDict(
        {
            "name": "targets.ect.Ect",
            "levels": {"name": "diffusion.schedule.LogNormal", "mean": -1.2, "std": 1.5},
            "q": 2.0,
            "k": 8.0,
            "b": 2.0,  # 1 / sigma: the paper's 1 is for pixels of deviation 0.5, these have 0.25
            "stage_steps": 200,
            "max_stage": 4,
        }
    )
    config.method.metric = ConfigDict({"name": "metrics.pixel.PseudoHuber", "c": 0.01})
    config.method.sampler = ConfigDict({"name": "diffusion.sampler.Consistency", "sigmas": (5.0, 0.5)})
    config.optim.rate = 3e-4
    return config
