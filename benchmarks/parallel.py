"""One step over many devices: the same parameters, the bytes of a device, and what devices tell each other.

    python -m benchmarks.parallel            all of it, one line of JSON
    python -m benchmarks.parallel --quick    2 and 4 devices only

"parity": 20 steps of AdamW (epsilon 1e-4) on a small world by each strategy, against one device: the largest
difference of a parameter over the largest parameter of its leaf, the maximum over leaves. "fsdp_bytes_ratio": bytes of
the state on a device under FSDP over n devices, over those of a whole state, by the compiled program's arguments
(`memory_analysis`) and by the arrays themselves; the larger is reported. "collectives": instructions of the compiled
step by kind, on 4 devices, and the bytes that they give each device. "data" is Mesh(n), "fsdp" Mesh(1, n), "both"
Mesh(n / 2, 2).

Devices are made of one CPU, each count in a process of its own, and the last pair are two processes of two devices
that speak through gloo. Nothing here is a timing.
"""

import argparse
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
STEPS, BATCH, CROP = 20, 16, 16
NET = {"name": "nets.unet.UNet", "width": 16, "multipliers": (1,), "blocks": 1, "patch": 2, "embed": 16}
METHOD = {
    "name": "methods.regression.Regression",
    "net": NET,
    "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
    "target": {"name": "targets.denoise.Denoise", "sigma_data": 0.1},
    "metric": {"name": "metrics.pixel.Mse"},
    "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (1.0,), "start": "image"},
}
LARGER = {"name": "nets.nafnet.NAFNet", "width": 32, "enc_blocks": (1, 1), "dec_blocks": (1, 1)}
RESTORER = {**METHOD, "net": LARGER, "precondition": {"name": "diffusion.precondition.Residual"}} | {
    "target": {"name": "targets.clean.Clean"},
    "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
}
NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1, "u8": 1, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8}


def strategies(n: int) -> dict[str, tuple[Any, dict[str, int]]]:
    """By name: a strategy over `n` devices, and what its step is made with."""
    from restore_jax.train.parallel import Mesh, Pmap, Single

    if n == 1:
        return {"single": (Single(), {}), "accumulate 4": (Single(), {"accumulate": 4}), "scan 5": (Single(), {})}
    cut = {"least_bytes": 0}
    found: dict[str, tuple[Any, dict[str, int]]] = {
        f"data {n}": (Mesh(n), {}),
        f"fsdp {n}": (Mesh(1, n, **cut), {}),
        f"fsdp {n} accumulate 2": (Mesh(1, n, **cut), {"accumulate": 2}),
        f"pmap {n}": (Pmap(), {}),
    }
    return found | ({f"data {n // 2} x fsdp 2": (Mesh(n // 2, 2, **cut), {})} if n > 2 else {})


def trained(strategy: Any, fields: dict[str, int], dispatch: int = 1) -> dict[str, np.ndarray]:
    """The parameters after 20 steps, by path."""
    import jax
    import optax

    from restore_jax.build import build
    from restore_jax.train.step import create_state, make_step

    method, degrade = build(METHOD), build(NOISE)
    # Adam divides a gradient by its own size. Of one that cancels to 0, that is rounding by rounding: with optax's
    # epsilon of 1e-8 such a number moves at the full rate wherever the order of a sum sends it. 1e-4 is above rounding.
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, b2=0.99, eps=1e-4))
    state = create_state(method, degrade, optimizer, jax.random.key(3), (CROP, CROP, 3))
    run = strategy.compile(lambda axis: make_step(method, degrade, optimizer, 1000, axis, **fields), dispatch)
    images = np.random.default_rng(0).integers(0, 256, (STEPS, BATCH, CROP, CROP, 3), np.uint8)
    rows = BATCH // jax.process_count()
    images = images[:, jax.process_index() * rows :][:, :rows]
    batches = images if dispatch == 1 else images.reshape(-1, dispatch, *images.shape[1:])
    state = strategy.place(state)
    for batch in batches:
        state, _ = run(state, strategy.shard(batch))
    leaves, _ = jax.tree.flatten_with_path(strategy.whole(state).params)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def compiled(strategy: Any) -> tuple[Any, Any, Any]:
    """The compiled step of a larger net, its placed state, and a batch."""
    import jax

    from restore_jax.build import build
    from restore_jax.train.step import create_state, make_step

    method, degrade = build(RESTORER), build(NOISE)
    optimizer = build({"name": "train.optim.AdamW"}).transform(BATCH, STEPS * BATCH)
    state = create_state(method, degrade, optimizer, jax.random.key(3), (CROP, CROP, 3))
    batch = strategy.shard(np.zeros((BATCH, CROP, CROP, 3), np.uint8))
    state = strategy.place(state)
    run = strategy.compile(lambda axis: make_step(method, degrade, optimizer, 1000, axis))
    return run.lower(state, batch).compile(), state, batch


def bytes_of_a_device(tree: Any) -> int:
    """What the leaves take on the first device."""
    import jax

    arrays = [jax.random.key_data(a) if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key) else a for a in tree]
    return sum(a.addressable_shards[0].data.nbytes for a in arrays)


def figures_of(strategy: Any) -> dict[str, Any]:
    """Bytes of the state on a device, by the program's arguments (the batch taken off) and by the arrays; messages."""
    import jax

    program, state, batch = compiled(strategy)
    arguments = program.memory_analysis().argument_size_in_bytes - bytes_of_a_device([batch])
    arrays = bytes_of_a_device(jax.tree.leaves(state))
    return {"arguments": arguments, "arrays": arrays, "collectives": collectives(program.as_text())}


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Instructions of compiled HLO by kind, and the bytes of their results."""
    found: dict[str, dict[str, int]] = {}
    for result, kind in re.findall(rf"= (.+?) ({'|'.join(KINDS)})(?:-start)?\(", text):
        shapes = re.findall(r"(\w+)\[([\d,]*)\]", result)
        size = sum(SIZES[t] * math.prod(int(d) for d in dims.split(",") if d) for t, dims in shapes if t in SIZES)
        one = found.setdefault(kind, {"instructions": 0, "bytes": 0})
        one["instructions"] += 1
        one["bytes"] += size
    return found


def child(n: int, out: Path) -> None:
    """Everything that is measured on `n` devices, written below `out`."""
    import jax

    from restore_jax.train import processes
    from restore_jax.train.parallel import Mesh

    processes.start()
    assert jax.device_count() == n, f"{jax.device_count()} devices, not {n}"
    if jax.process_count() > 1:
        for name, strategy in {"2 processes, data 4": Mesh(4), "2 processes, fsdp 4": Mesh(1, 4, 0)}.items():
            params = trained(strategy, {})
            if processes.is_writer():
                np.savez(out / f"{name}.npz", **params)
        return
    for name, (strategy, fields) in tqdm(strategies(n).items(), f"parity, {n} devices"):
        np.savez(out / f"{name}.npz", **trained(strategy, fields, 5 if name.startswith("scan") else 1))
    if n > 1:
        larger = {"fsdp": Mesh(1, n), "data": Mesh(n)} | ({"both": Mesh(2, 2)} if n == 4 else {})
        figures = {name: figures_of(strategy) for name, strategy in tqdm(larger.items(), f"bytes, {n} devices")}
        (out / f"{n}.json").write_text(json.dumps(figures))


def start(devices: int, out: Path, total: int, **environment: str) -> subprocess.Popen:
    """A process of so many devices, of `total` over all processes."""
    # No timings: compiled quickly, and run slowly. What the devices tell each other is settled before.
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    flags = f"{os.environ.get('XLA_FLAGS', quick)} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "benchmarks.parallel", "--child", str(total), "--out", str(out)]
    fixed = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": flags}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | fixed | environment)


def finish(running: list[subprocess.Popen]) -> None:
    """Waits for all; one that fails ends the others."""
    try:
        for one in running:
            if one.wait(timeout=1800):
                raise SystemExit(f"benchmarks.parallel: a process ended with {one.returncode}; its error is above.")
    finally:
        for one in running:
            one.kill()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference in a leaf over the leaf's largest number, the maximum over leaves."""
    return max(float(np.max(np.abs(one[k] - other[k])) / np.max(np.abs(other[k]))) for k in other)


def measure(counts: tuple[int, ...]) -> dict[str, Any]:
    """The figures of the module's docstring."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for n in (1, *counts):
            finish([start(n, out, n)])
        shared = {"RESTORE_JAX_COORDINATOR": f"127.0.0.1:{free_port()}", "RESTORE_JAX_PROCESSES": "2"}
        finish([start(2, out, 4, **shared, RESTORE_JAX_PROCESS=str(p)) for p in range(2)])

        runs = {path.stem: dict(np.load(path)) for path in sorted(out.glob("*.npz"))}
        alone = runs.pop("single")
        pages = {n: json.loads((out / f"{n}.json").read_text()) for n in counts}
        ratios = {
            n: max(page["fsdp"][way] / page["data"][way] for way in ("arguments", "arrays"))
            for n, page in pages.items()
        }
        return {
            "fsdp_bytes_ratio": ratios,
            "parity": {name: difference(params, alone) for name, params in runs.items()},
            "collectives": {name: page["collectives"] for name, page in pages[4].items()},
        }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 and 4 devices only")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.out)
    else:
        print(json.dumps(measure((2, 4) if arguments.quick else (2, 4, 8))), flush=True)


if __name__ == "__main__":
    main()
