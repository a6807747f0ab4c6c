"""Few-step restoration at equal budget: which method makes a network answer well in one or two evaluations?

    python -m experiments.sweep --config configs/ablations/few_step --workdir outputs/few_step
    python -m experiments.few_step --workdir outputs/few_step

One network, one set of photographs, one degradation (blur, half the size, noise of 25/255), three seeds. What is equal
is the number of network evaluations spent on training, `BUDGET` for the teacher and as many for each student; what
starts without the teacher has both. An evaluation is one forward pass of one crop; a gradient counts as two more, a
forward derivative as one more.

`get_config("ect-0")` is the run of a row and a seed, `sweep()` all of them in order, each with the runs it starts
from (`start`) and learns from (`teacher`), and `ROWS` how each is sampled.
"""

from ml_collections import ConfigDict

from configs.fragments import LEVELS, SCHEDULE, SIGMA_DATA, UNET, run

SEEDS = (0, 1, 2)
BUDGET = 36_000
BATCH = 16
NET = UNET | {"width": 32}
TRIG = {"name": "diffusion.precondition.Trig", "sigma_data": SIGMA_DATA, "around": "image"}
HUBER = {"name": "metrics.pixel.PseudoHuber", "c": 0.01}
MSE = {"name": "metrics.pixel.Mse"}
DENOISE = {"name": "targets.denoise.Denoise", "levels": LEVELS, "sigma_data": SIGMA_DATA}
STUDENT_LEVELS = LEVELS | {"mean": -1.2}  # consistency is asked more often where restoring starts

NESTED = {"name": "targets.progressive.Nested", "schedule": SCHEDULE}
TWO_LEVELS = (1.0, 0.1)


def consistency(*sigmas: float) -> dict[str, object]:
    """The sampler of a consistency function."""
    return {"name": "diffusion.sampler.Consistency", "sigmas": sigmas, "start": "image"}


def jumps(*sigmas: float) -> dict[str, object]:
    """The sampler of a flow map."""
    return {"name": "diffusion.flow_map.FlowMap", "sigmas": sigmas, "start": "image"}


def ode(step: str, n_steps: int, schedule: dict[str, object]) -> dict[str, object]:
    """A solver down a schedule."""
    step = {"name": f"diffusion.solver.{step}"}
    return {"name": "diffusion.sampler.Ode", "step": step, "schedule": schedule, "n_steps": n_steps, "start": "image"}


TEACHER_SAMPLER = ode("Dpm2M", 18, SCHEDULE)

# row: (run, sampler of one evaluation), (run, sampler of two); the number of evaluations is the sampler's own.
STUDENT = (consistency(1.0), consistency(*TWO_LEVELS))
ROWS = {
    "regression": (("regression", consistency(0.0)),),
    "teacher": (("teacher", TEACHER_SAMPLER), ("teacher", ode("Dpm2M", 2, SCHEDULE))),
    "progressive": (("progressive1", ode("Euler", 1, NESTED)), ("progressive2", ode("Euler", 2, NESTED))),
    "cd": tuple(("cd", sampler) for sampler in STUDENT),
    "ict": tuple(("ict", sampler) for sampler in STUDENT),
    "ect": tuple(("ect", sampler) for sampler in STUDENT),
    "scm": tuple(("scm", sampler) for sampler in STUDENT),
    "meanflow": (("meanflow", jumps(1.0)), ("meanflow", jumps(*TWO_LEVELS))),
    "dmd2": tuple(("dmd2", sampler) for sampler in STUDENT),
}

# run: evaluations a crop; share of BUDGET; the run it starts from; the run that teaches it.
RUNS = {
    "regression": (3, 2.0, "", ""),
    "teacher": (3, 1.0, "", ""),
    "progressive4": (3 + 2, 1 / 3, "teacher", "teacher"),
    "progressive2": (3 + 2, 1 / 3, "progressive4", "progressive4"),
    "progressive1": (3 + 2, 1 / 3, "progressive2", "progressive2"),
    "cd": (3 + 1 + 2, 1.0, "teacher", "teacher"),  # the average once, Heun's step of the teacher
    "ict": (3 + 1, 2.0, "", ""),
    "ect": (3 + 1, 1.0, "teacher", ""),
    "scm": (3 + 2 + 1, 1.0, "teacher", "teacher"),  # a forward derivative, the teacher's slope
    "meanflow": (3 + 2, 1.0, "teacher", ""),
    "dmd2": (3 + 1 + 2 + 3, 1.0, "teacher", "teacher"),  # the generator twice, both scores, the fake's own step
}


def images(run_name: str) -> int:
    """Crops that a run may see."""
    evaluations, share, _, _ = RUNS[run_name]
    return int(BUDGET * share / evaluations) // BATCH * BATCH


def regression(target: dict[str, object], metric: dict[str, object], sampler: dict[str, object], **net: object) -> dict:
    """The method of all rows but DMD2."""
    return {
        "name": "methods.regression.Regression",
        "scale": 2,
        "net": NET | net,
        "precondition": TRIG,
        "target": target,
        "metric": metric,
        "sampler": sampler,
    }


def methods() -> dict[str, dict]:
    """The method of each run."""
    steps = {name: images(name) // BATCH for name in RUNS}
    _, two = STUDENT
    teacher = regression(DENOISE, MSE, TEACHER_SAMPLER)

    def progressive(n: int) -> dict:
        target = {
            "name": "targets.progressive.ProgressiveDistillation",
            "schedule": SCHEDULE,
            "n_steps": n,
            "sigma_data": SIGMA_DATA,
        }
        return regression(target, MSE, ode("Euler", n, NESTED))

    cd = {"name": "targets.distill.ConsistencyDistillation", "schedule": SCHEDULE, "n_levels": 18}
    ict = {
        "name": "targets.ict.Ict",
        "schedule": SCHEDULE,
        "levels": STUDENT_LEVELS,
        "total_steps": steps["ict"],
        "s0": 4,
        "s1": 64,
    }
    ect = {
        "name": "targets.ect.Ect",
        "levels": STUDENT_LEVELS,
        "b": 5.0,  # 1 / sigma: the paper's 1 is for pixels of deviation 0.5, these have 0.1
        "stage_steps": steps["ect"] // 4,
        "max_stage": 3,
    }
    scm = {
        "name": "targets.scm.Scm",
        "kind": "distillation",
        "levels": STUDENT_LEVELS,
        "sigma_data": SIGMA_DATA,
        "warmup_steps": steps["scm"] // 2,
    }
    meanflow = {"name": "targets.meanflow.MeanFlow", "levels": STUDENT_LEVELS, "sigma_data": SIGMA_DATA, "share": 0.5}
    return {
        "regression": regression({"name": "targets.clean.Clean"}, HUBER, consistency(0.0), embed=0)
        | {"precondition": {"name": "diffusion.precondition.Residual"}},
        "teacher": teacher,
        **{f"progressive{n}": progressive(n) for n in (4, 2, 1)},
        "cd": regression(cd, HUBER, two),
        "ict": regression(ict, HUBER, two),
        "ect": regression(ect, HUBER, two),
        "scm": regression(scm, MSE, two),
        "meanflow": regression(meanflow, MSE, jumps(*TWO_LEVELS), until=True),
        "dmd2": {
            "name": "methods.score_distill.ScoreDistill",
            "generator": teacher | {"sampler": two},
            "levels": LEVELS,
        },
    }


def get_config(arg: str = "teacher-0") -> ConfigDict:
    """The run `row-seed`; its `start` and `teacher` are filled in by the sweep, which knows where runs lie."""
    name, _, seed = arg.rpartition("-")
    if name not in RUNS or not seed.isdigit():
        raise ValueError(f"{arg!r} is not a run: write one of {', '.join(RUNS)}, a hyphen and a seed, like teacher-0.")
    scratch = not RUNS[name][2]
    adamw = {"name": "train.optim.AdamW", "rate": 1e-3 if scratch else 3e-4, "warmup_images": 800 if scratch else 160}
    players = {
        "name": "train.optim.Players",
        "optims": {
            "generator": {"name": "train.optim.Every", "optim": adamw | {"rate": 1e-4}, "k": 2},
            "fake": adamw,
        },
    }
    return run(
        label=arg,
        seed=int(seed),
        images=images(name),
        batch_size=BATCH,
        crop_px=48,
        method=methods()[name],
        optim=players if name == "dmd2" else adamw,
        preview_every_images=100_000,
        retain={"name": "train.retain.Retain", "latest": 1},
    )


def sweep() -> dict[str, dict[str, object]]:
    """Every run, after those it needs: label -> config, start, teacher."""
    runs = {}
    for seed in SEEDS:
        for name, (_, _, start, teacher) in RUNS.items():
            needs = {"start": f"{start}-{seed}" if start else "", "teacher": f"{teacher}-{seed}" if teacher else ""}
            runs[f"{name}-{seed}"] = {"config": get_config(f"{name}-{seed}"), **needs}
    return runs
