"""Easy consistency tuning: the diffusion model of `configs/diffusion.py` learns to answer in 1-2 evaluations.

Tuning stops at stage 3. Each stage makes the student less of an average and more of a sample: on held-out crops a run
of an earlier recipe (lower levels, to stage 6) had 24.0 dB at stage 2, 23.0 at stage 4, 22.7 at stage 6.

    python -m experiments.train --config configs/consistency.py --workdir outputs/consistency \\
        --config.start outputs/diffusion
"""

from ml_collections import ConfigDict

from configs.fragments import EDM, LEVELS, UNET, run


def get_config(arg: str = "") -> ConfigDict:
    del arg
    return run(
        label="consistency",
        images=5_000,
        method={
            "name": "methods.regression.Regression",
            "scale": 2,
            "net": UNET,
            "precondition": EDM,
            "target": {
                "name": "targets.ect.Ect",
                "levels": LEVELS | {"mean": -1.2},
                "q": 2.0,
                "k": 8.0,
                "b": 5.0,  # 1 / sigma: the paper's 1 is for pixels of deviation 0.5, these have 0.1
                "stage_steps": 100,
                "max_stage": 3,
            },
            "metric": {"name": "metrics.pixel.PseudoHuber", "c": 0.01},
            "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (1.0, 0.1), "start": "image"},
        },
        optim={"name": "train.optim.AdamW", "rate": 3e-4, "warmup_images": 400},
    )
