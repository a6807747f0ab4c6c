"""Every posterior sampler against posteriors that are known: how far off its samples are, and what they cost.

    python -m benchmarks.posterior               all of them, minutes on two cores; writes results/posterior.json
    python -m benchmarks.posterior --quick       fewer samples and steps, only printed
    python -m benchmarks.posterior --summary     a line a sampler, of what was recorded
    python -m benchmarks.posterior --only Pigdm  one sampler (or several), only printed

Pictures are 4 x 4 x 3, drawn from one of three worlds: an isotropic Gaussian, a Gaussian of any directions, and a
mixture of four Gaussians. One picture of each is blurred (a Gaussian on a torus) or halved (the mean of 2 x 2), with
noise of 0.05, or is given without noise half of its pixels or a Bayer mosaic. The samplers are those in EXAMPLES of
restore_jax.diffusion.posterior, not tuned, as they stand there but for what `prepare` sets: the same schedule and
number of steps for all, and the deviation of the prior, where they ask for it, to that of the world. They are handed
the world's exact denoiser (its consistency function where they want one), so that nothing but the sampler can be wrong.
The first rows are of none of them: they walk the same steps with the exact E[x | x_t, y], and are off by what the
steps and the number of samples leave.

Of 2000 samples, drawn at once: mean_err_se, the largest deviation of their mean from the exact one over the pixels,
in standard errors sqrt(exact variance / n), a pixel known better than 1e-3 counting as one known to 1e-3; of 48 numbers
from an exact sampler, one exceeds 3 in an eighth of all rows, and 4 in one of 300. mean_err_rms_se is their root mean
square, which should be 1 (less where pixels are known). cov_err, the relative Frobenius error of their covariance, and
swd, the sliced Wasserstein distance (128 directions) to as many exact samples, stand beside what exact samples get,
cov_floor and swd_floor. `exact` says that the sampler claims the posterior of that world, but for its steps. `seconds`
is the second call of the jitted sampler, nfe its evaluations of the denoiser a sample.
"""

import argparse
import dataclasses
import json
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.record import ROOT, record
from restore_jax.build import build, examples, spec_of
from restore_jax.core import Observation, Sampler
from restore_jax.degrade.blur import AnisotropicGaussian
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.mask import RandomPixels
from restore_jax.degrade.raw import Mosaic
from restore_jax.diffusion.sampler import Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler
from restore_jax.testing.distance import sliced_wasserstein
from restore_jax.testing.gaussian import GaussianWorld
from restore_jax.testing.mixture import MixtureWorld

SHAPE, DEVIATION, KNOWN, SEED = (4, 4, 3), 0.25, 1e-3, 0
SCHEDULE = Karras(sigma_min=0.002, sigma_max=80.0)  # from 10, the start would show: by 0.1 / 10 of a deviation
OPERATORS = {  # name: degradation, noise_std
    "blur": (AnisotropicGaussian(std_x=0.7, std_y=0.7, angle=0.0, size=3), 0.05),
    "downsample": (Downsample(2, "box"), 0.05),
    "mask": (RandomPixels(0.5), 0.0),
    "mosaic": (Mosaic(), 0.0),
}
WORLDS = ("isotropic", "gaussian", "mixture")
REFERENCE = "(exact denoiser)"
EXACT = {  # class: the worlds of which it claims to draw from the posterior, and the fields with which it does
    "Ode": (("isotropic", "gaussian", "mixture"), {}),  # the reference
    "MomentMatching": (("isotropic", "gaussian"), {}),
    "Pigdm": (("isotropic",), {}),
    "Ddnm": (("isotropic",), {}),
    "Daps": (("isotropic",), {"ode_steps": 1, "deviation": DEVIATION}),
}
PRIOR_DEVIATION = {"Pigdm": "sigma_data", "Ddnm": "sigma_data", "Daps": "deviation"}  # where it is not None
SETTINGS = {"MomentMatching": {"iterations": 10}}  # those in EXAMPLES are for tests that only ask whether it runs
WANTS_CONSISTENCY = ("Cm4ir",)  # the prior is x_s -> x_0 instead of x_t -> E[x]
COLUMNS = (
    *("sampler", "operator", "world", "exact", "mean_err_se", "mean_err_rms_se", "cov_err", "cov_floor"),
    *("swd", "swd_floor", "nfe", "seconds"),
)


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much is spent on a row."""

    samples: int = 2000
    steps: int = 100
    projections: int = 128


@dataclasses.dataclass(frozen=True)
class Task:
    """An observation, and all there is to know of what it came from."""

    world_name: str
    operator_name: str
    world: MixtureWorld
    posterior: MixtureWorld
    obs: Observation
    mean: Any  # d, of the posterior
    covariance: Any  # d d
    samples: Any  # of the posterior
    floors: dict[str, float]  # what as many other samples of it get


@jax.jit
def worlds(key) -> dict[str, MixtureWorld]:
    """The three worlds; the components of the mixture overlap, so that half a picture does not say which it is from."""
    keys = jax.random.split(key, 3)
    d = math.prod(SHAPE)
    mean = 0.5 + 0.1 * jax.random.normal(keys[0], SHAPE)
    return {
        "isotropic": MixtureWorld.single(GaussianWorld(mean, jnp.eye(d), jnp.full(d, DEVIATION**2))),
        "gaussian": MixtureWorld.single(GaussianWorld.draw(keys[1], SHAPE, 0.1, 0.4)),
        "mixture": MixtureWorld.draw(keys[2], SHAPE, 4, spread=0.06, low=0.12, high=0.18),
    }


@jax.jit
def exact_posterior(world: MixtureWorld, obs: Observation):
    """The posterior's world, mean and covariance."""
    posterior = world.posterior(obs.operator, obs.y, 0.0 if obs.noise_std is None else obs.noise_std)
    return posterior, posterior.mean.ravel(), posterior.covariance


def task(key, world_name: str, operator_name: str, world: MixtureWorld, budget: Budget) -> Task:
    """One picture of the world, observed; its posterior is computed in float64."""
    key_x, key_operator, key_noise, key_floor, *key_sets = jax.random.split(key, 6)
    degrade, noise_std = OPERATORS[operator_name]
    obs = jax.jit(degrade)(key_operator, world.sample(key_x, 1)[0])
    y = obs.y + noise_std * jax.random.normal(key_noise, obs.y.shape)
    obs = obs.replace(y=y, noise_std=jnp.float32(noise_std) if noise_std else None)
    with jax.enable_x64(True):
        known = exact_posterior(*jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (world, obs)))
        posterior, mean, covariance = jax.tree.map(np.asarray, known)
    posterior = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), posterior)
    first, second = (_sample(posterior, one, budget.samples) for one in key_sets)
    floors = {
        "cov_floor": covariance_error(second, covariance),
        "swd_floor": float(_distance(key_floor, second, first, budget.projections)),
    }
    return Task(world_name, operator_name, world, posterior, obs, mean, covariance, first, floors)


_sample = jax.jit(MixtureWorld.sample, static_argnums=2)
_distance = jax.jit(sliced_wasserstein, static_argnums=3)


def member(spec: Any) -> dict[str, Any] | None:
    """The part of a sampler's spec that comes from `diffusion.posterior`, a guidance before a step."""
    if isinstance(spec, dict):
        if str(spec.get("name", "")).startswith("diffusion.posterior."):
            return spec
        spec = (spec.get("guidance"), *spec.values())
    found = (member(part) for part in spec) if isinstance(spec, tuple | list) else ()
    return next((part for part in found if part), None)


def class_of(spec: dict[str, Any]) -> str:
    """The class of that part, or of the sampler if nothing guides it."""
    return (member(spec) or spec)["name"].rpartition(".")[2]


def discover() -> dict[str, dict[str, Any]]:
    """The samplers in EXAMPLES, by the name of their class, with the fields they state where a class has several.

    Left out are those given a `forward` of their own: what they invert is not the task's operator.
    """
    specs = [spec for spec in examples("restore_jax.diffusion.posterior") if not (member(spec) or {}).get("forward")]
    classes = [class_of(spec) for spec in specs]
    found = {}
    for spec, name in zip(specs, classes):
        if classes.count(name) > 1:
            part = {k: v for k, v in (member(spec) or spec).items() if not isinstance(v, dict)}
            set_here = PRIOR_DEVIATION.get(name)
            stated = [k if k == set_here else f"{k}={v}" for k, v in part.items() if k not in ("name", "n_steps")]
            name += f"({', '.join(stated)})" if stated else ""
        found.setdefault(name, spec)
    return found


def prepare(spec: dict[str, Any], budget: Budget, deviation: float) -> dict[str, Any]:
    """The spec of an example, at the benchmark's budget, with all its fields.

    The outermost `schedule` and `n_steps` become those of the benchmark (a sampler without keeps its own number
    of evaluations), the fields in PRIOR_DEVIATION the deviation of the world, and SETTINGS are laid over. The rest is
    as it stands.
    """
    whole = spec_of(build(spec))
    part = member(whole) or {}
    field = PRIOR_DEVIATION.get(class_of(whole))
    if field and part[field] is not None:
        part[field] = deviation
    part.update(SETTINGS.get(class_of(whole), {}))
    inner = whole["sampler"] if whole["name"] == "diffusion.sampler.Guided" else whole
    overrides = {"schedule": spec_of(SCHEDULE), "n_steps": budget.steps}
    inner.update({key: value for key, value in overrides.items() if key in inner})
    return whole


def claims(spec: dict[str, Any], world_name: str) -> bool:
    """Whether a sampler claims the posterior of a world, but for its steps."""
    world_names, fields = EXACT.get(class_of(spec), ((), {}))
    part = member(spec) or spec
    return world_name in world_names and all(part[key] == value for key, value in fields.items())


def covariance_error(x, exact) -> float:
    """`|cov(x) - exact| / |exact|`, Frobenius."""
    estimate = np.cov(np.asarray(x, np.float64).reshape(len(x), -1).T)
    return float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))


def judge(key, x, task: Task, budget: Budget) -> dict[str, float]:
    """How far the samples are from the posterior, in all the ways of the table."""
    bad = int((~np.isfinite(np.asarray(x)).reshape(len(x), -1).all(axis=1)).sum())
    if bad:
        raise FloatingPointError(f"{bad} of {len(x)} samples are not finite")
    off = np.asarray(x, np.float64).reshape(len(x), -1).mean(axis=0) - task.mean
    in_errors = np.abs(off) / np.sqrt((np.diag(task.covariance).clip(min=0) + KNOWN**2) / len(x))
    return {
        "mean_err_se": float(in_errors.max()),
        "mean_err_rms_se": float(np.sqrt(np.mean(in_errors**2))),
        "cov_err": covariance_error(x, task.covariance),
        "swd": float(_distance(key, x, task.samples, budget.projections)),
    } | task.floors


def program(sampler: Sampler, consistency: bool):
    """The jitted `(keys, prior's world, obs) -> x`, a sample a key, the observation shared by all."""

    def draw(keys, world: MixtureWorld, obs: Observation):
        prior = world.consistency if consistency else world.denoise
        return jax.vmap(lambda key: sampler(key, prior, obs))(keys)

    return jax.jit(draw)


def measure(key, draw, world: MixtureWorld, task: Task, budget: Budget) -> dict[str, Any]:
    """The figures of a row, or what was raised."""
    key_samples, key_judge = jax.random.split(key)
    keys = jax.random.split(key_samples, budget.samples)
    try:
        jax.block_until_ready(draw(keys, world, task.obs))
        start = time.perf_counter()
        x = jax.block_until_ready(draw(keys, world, task.obs))
        seconds = time.perf_counter() - start
        figures = judge(key_judge, x, task, budget) | {"seconds": seconds}
    except Exception as error:  # a sampler that fails is a finding, and the others go on
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def run(budget: Budget, only: tuple[str, ...] = (), operators=tuple(OPERATORS), world_names=WORLDS) -> list[dict]:
    """The rows: the reference's, then those of each sampler."""
    specs = {REFERENCE: spec_of(Ode(Euler())), **discover()}
    names = {name for name, spec in specs.items() if not only or {name, class_of(spec)} & {REFERENCE, *only}}
    if missing := set(only) - names - {class_of(specs[name]) for name in names}:
        raise ValueError(f"There is no posterior sampler {', '.join(missing)}; there are: {', '.join(specs)}.")
    key_worlds, key_tasks, key_rows = jax.random.split(jax.random.key(SEED), 3)
    every = worlds(key_worlds)
    pairs = [(world, operator) for world in world_names for operator in operators]
    tasks = [task(one, w, o, every[w], budget) for one, (w, o) in zip(jax.random.split(key_tasks, len(pairs)), pairs)]
    rows, programs = [], {}
    plan = [(name, i, one) for name in specs if name in names for i, one in enumerate(tasks)]
    for name, i, one in tqdm(plan, desc="posterior", unit="row"):
        deviation = float(f"{jnp.sqrt(jnp.trace(one.world.covariance) / math.prod(SHAPE)):.3g}")
        spec = prepare(specs[name], budget, deviation)
        sampler = build(spec)
        draw = programs.setdefault(sampler, program(sampler, class_of(spec) in WANTS_CONSISTENCY))
        row = {
            "sampler": name,
            "operator": one.operator_name,
            "world": one.world_name,
            "exact": claims(spec, one.world_name),
            "noise_std": OPERATORS[one.operator_name][1],
            "nfe": sampler.nfe,
            "samples": budget.samples,
        }
        world = one.posterior if name == REFERENCE else one.world
        rows.append(row | measure(jax.random.fold_in(key_rows, i), draw, world, one, budget))
        tqdm.write(line(rows[-1]))
    return rows


def line(row: dict) -> str:
    """A row in Markdown; what was raised stands in place of its figures."""
    shown = COLUMNS[:4] if "error" in row else COLUMNS
    cells = [f"{row[c]:.3g}" if isinstance(row[c], float) else str(row[c]) for c in shown]
    return "| " + " | ".join([*cells, *([row["error"]] if "error" in row else [])]) + " |"


def table(rows: list[dict]) -> str:
    """All rows in Markdown."""
    return "\n".join(["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS), *map(line, rows)])


def summary(rows: list[dict]) -> str:
    """A line a sampler in Markdown: for each world the worst of its operators, beside what exact samples get.

    Of the Gaussian worlds the error of the mean (root mean square, in standard errors) and, after the slash, that of
    the covariance in multiples of its floor; of the mixture the sliced Wasserstein distance in multiples of its floor.
    """
    said = [
        "| sampler | evaluations | isotropic | Gaussian | mixture | s |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(row["sampler"] for row in rows):
        mine = [row for row in rows if row["sampler"] == name]
        cells = []
        for world in WORLDS:
            here = [row for row in mine if row["world"] == world and "error" not in row]
            if not here:
                cells.append("refused")
            elif world == "mixture":
                cells.append(f"{max(row['swd'] / row['swd_floor'] for row in here):.1f}")
            else:
                mean = max(row["mean_err_rms_se"] for row in here)
                covariance = max(row["cov_err"] / row["cov_floor"] for row in here)
                exact = "**" if any(row["exact"] for row in here) else ""
                cells.append(f"{exact}{mean:.1f} / {covariance:.1f}{exact}")
        seconds = [row["seconds"] for row in mine if "error" not in row]
        said.append(f"| {name} | {mine[0]['nfe']} | {' | '.join(cells)} | {max(seconds, default=math.nan):.1f} |")
    return "\n".join(said)


def main() -> None:
    """Measures, prints the table, and records it if nothing was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 samples, 25 steps")
    parser.add_argument("--only", nargs="+", default=(), metavar="SAMPLER", help="classes, or names in the table")
    parser.add_argument("--summary", action="store_true", help="a line a sampler, of results/posterior.json")
    args = parser.parse_args()
    if args.summary:
        print(summary(json.loads((ROOT / "results" / "posterior.json").read_text())["figures"]["rows"]))
        return
    budget = Budget(samples=500, steps=25, projections=48) if args.quick else Budget()
    rows = run(budget, tuple(args.only))
    print(table(rows))
    if not args.quick and not args.only:
        record("posterior", {"rows": rows}, " ".join(__doc__.split()))


if __name__ == "__main__":
    main()
