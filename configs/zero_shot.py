"""Zero-shot restoration with a prior and its consistency function: the tasks, the samplers, what each is searched for.

    python -m experiments.train --config configs/prior.py --workdir outputs/prior
    python -m experiments.train --config configs/prior_consistency.py --workdir outputs/prior_consistency \\
        --config.start outputs/prior
    python -m experiments.tune --workdir outputs/prior --consistency outputs/prior_consistency
    python -m experiments.zero_shot --workdir outputs/prior --consistency outputs/prior_consistency

A sampler is a spec and a space: the fields that `experiments.tune` sets (a path into the spec) and the values it
tries, in all combinations. What it found is in results/tuned.json. The samplers of `OF_CONSISTENCY` ask the second
network.
"""

TASKS = {
    "inpaint": {"name": "degrade.mask.RandomPixels", "keep": 0.3},
    "deblur": {
        "name": "degrade.chain.Chain",
        "steps": (
            {"name": "degrade.blur.GaussianBlur", "std": 1.5},
            {"name": "degrade.noise.Gaussian", "std": 0.02},
        ),
    },
    "sr4": {
        "name": "degrade.chain.Chain",
        "steps": (
            {"name": "degrade.downsample.Downsample", "scale": 4, "kernel": "box"},
            {"name": "degrade.noise.Gaussian", "std": 0.01},
        ),
    },
    "demosaic": {
        "name": "degrade.chain.Chain",
        "steps": ({"name": "degrade.raw.Mosaic"}, {"name": "degrade.noise.Gaussian", "std": 0.03}),
    },
}

SCHEDULE = {"name": "diffusion.schedule.Karras", "sigma_min": 0.005, "sigma_max": 5.0, "rho": 7.0}
N_STEPS = 25


def ode(step: dict) -> dict:
    """`step` down the schedule."""
    return {"name": "diffusion.sampler.Ode", "step": step, "schedule": SCHEDULE, "n_steps": N_STEPS}


def guided(guidance: dict, step: dict | None = None) -> dict:
    """A guidance around the prior, down the schedule by DDPM's ancestral step or another."""
    step = step or {"name": "diffusion.solver.Ancestral"}
    return {"name": "diffusion.sampler.Guided", "sampler": ode(step), "guidance": (guidance,)}


CM4IR = {"name": "diffusion.posterior.cm4ir.Cm4ir"}
CM4IR_SPACE = {"sigmas": ((1.0, 0.2), (2.0, 0.6, 0.2, 0.05)), "scale": (1.0, 30.0, 1000.0)}

SAMPLERS = {
    "DDRM": (ode({"name": "diffusion.posterior.ddrm.Ddrm"}), {"step.eta": (0.85, 1.0)}),
    "DDNM": (guided({"name": "diffusion.posterior.ddnm.Ddnm"}), {"guidance.0.sigma_data": (0.1, 0.25)}),
    "PiGDM": (guided({"name": "diffusion.posterior.pigdm.Pigdm"}), {"guidance.0.sigma_data": (0.1, 0.25)}),
    "moments": (guided({"name": "diffusion.posterior.moments.MomentMatching"}), {"guidance.0.iterations": (3,)}),
    "DPS": (
        ode({"name": "diffusion.posterior.dps.Dps", "step": {"name": "diffusion.solver.Ancestral"}}),
        {"step.scale": (0.1, 0.5, 2.0)},
    ),
    "DiffPIR": (
        guided({"name": "diffusion.posterior.diffpir.DiffPir"}, {"name": "diffusion.posterior.diffpir.Renew"}),
        {"guidance.0.scale": (7.0,), "sampler.step.zeta": (0.3, 1.0)},
    ),
    "RePaint": (
        ode({"name": "diffusion.posterior.repaint.RePaint", "step": {"name": "diffusion.solver.Ancestral"}}),
        {"step.resamples": (1, 3)},
    ),
    "RED-diff": (
        {"name": "diffusion.posterior.red_diff.RedDiff", "schedule": SCHEDULE, "n_steps": N_STEPS},
        {"scale": (0.1, 0.5), "rate": (0.02, 0.1)},
    ),
    "DAPS": (
        {"name": "diffusion.posterior.daps.Daps", "schedule": SCHEDULE, "n_steps": N_STEPS // 2, "ode_steps": 2},
        {"deviation": (0.1, 0.25)},
    ),
    "CM4IR": (CM4IR, CM4IR_SPACE),
    "CM4IR of D": (CM4IR, CM4IR_SPACE),
}
OF_CONSISTENCY = ("CM4IR",)
