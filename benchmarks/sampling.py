"""What sampling costs beside the network, and whether other levels are another program.

    python -m benchmarks.sampling          about three minutes on two cores

The U-Net of the first recipes (configs/fragments.py) with its preconditioning, 1 x 128 x 128 x 3, float32, weights
as arguments. The bare network is one jitted call of the denoiser. A sample is `diffusion.sampler.descend`: one
jitted `scan` of 18 steps. For each solver, rounds alternate between the two in one process: a pause, a call to warm
up, then one sample, and as many bare calls as that sample evaluates the network. A row's overhead is the median over
rounds of (sample / evaluations) / (bare call) - 1; `overhead` is the largest of them, the fresh noise of stochastic
solvers included. `recompiles` counts the programs beyond the first that the same jitted sample is compiled to when
the levels change and not their number. `restore_jax.cpu.prepare` comes first, as in our commands.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.record import record
from configs import fragments
from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.cpu import prepare
from restore_jax.diffusion.sampler import descend

SHAPE, STEPS, ROUNDS, PAUSE_S = (1, 128, 128, 3), 18, 15, 0.05
SOLVERS = (
    {"name": "diffusion.solver.Euler"},
    {"name": "diffusion.solver.Heun"},
    {"name": "diffusion.solver.Dpm2M"},
    {"name": "diffusion.solver.UniPc"},
    {"name": "diffusion.solver.Ancestral"},
)
SCHEDULES = (
    {"name": "diffusion.schedule.Karras"},
    {"name": "diffusion.schedule.VarianceExploding", "sigma_max": 10.0},
    {"name": "diffusion.schedule.Straight", "shift": 3.0},
)


def network() -> tuple[Callable[..., Any], Any, Observation]:
    """`denoise(params, x_t, sigma, obs)`, parameters for it, and an observation."""
    net, precondition = build(fragments.UNET), build(fragments.EDM)
    image = jax.random.uniform(jax.random.key(1), SHAPE)
    obs = Observation(y=image).with_cond(image=image)
    params = net.init(jax.random.key(2), *precondition.to_net(image, jnp.ones(1), obs))

    def denoise(params, x_t, sigma, obs):
        raw = net.apply(params, *precondition.to_net(x_t, sigma, obs))
        return precondition.to_x(raw, x_t, sigma, obs)

    return denoise, params, obs


def seconds(function: Callable[[], Any], calls: int) -> float:
    """A call, the mean of some."""
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(function())
    return (time.perf_counter() - start) / calls


def measure(spec: dict[str, Any], denoise: Callable[..., Any], params: Any, obs: Observation) -> dict[str, Any]:
    """One solver's row."""
    step = build(spec)
    x, level = jax.random.normal(jax.random.key(3), SHAPE), jnp.asarray(1.0)
    grids = [build(schedule).grid(STEPS) for schedule in SCHEDULES]
    bare = jax.jit(denoise)

    @jax.jit
    def sample(params, key, x, obs, sigmas):
        return descend(step, key, lambda x_t, sigma: denoise(params, x_t, sigma, obs), x, sigmas)

    key, nfe = jax.random.key(4), step.nfe(STEPS)
    for sigmas in grids:
        jax.block_until_ready(sample(params, key, x, obs, sigmas))
    recompiles = sample._cache_size() - 1
    jax.block_until_ready(bare(params, x, level, obs))

    rounds = []
    for _ in range(ROUNDS):
        whole = seconds(lambda: sample(params, key, x, obs, grids[0]), 1)
        rounds.append((whole / nfe, seconds(lambda: bare(params, x, level, obs), nfe)))
    ours, net = (statistics.median(column) for column in zip(*rounds))
    return {
        "solver": spec["name"].rpartition(".")[2],
        "nfe": nfe,
        "evaluation_ms": round(1e3 * ours, 3),
        "network_ms": round(1e3 * net, 3),
        "overhead": round(statistics.median(a / b for a, b in rounds) - 1, 4),
        "recompiles": recompiles,
    }


def main() -> None:
    """Measures every solver and records the rows."""
    prepare()
    denoise, params, obs = network()
    rows = []
    for spec in SOLVERS:
        rows.append(measure(spec, denoise, params, obs))
        print("{solver:10} {nfe:3} evaluations of {evaluation_ms} ms, network {network_ms} ms".format(**rows[-1]))
    figures = {
        "overhead": max(row["overhead"] for row in rows),
        "recompiles": sum(row["recompiles"] for row in rows),
        "rows": rows,
    }
    record("sampling", figures, " ".join((__doc__ or "").split()))


if __name__ == "__main__":
    main()
