"""The training step of each shipped config beside the same step in PyTorch.

    python -m benchmarks.train_step                  all configs, beside eager PyTorch; about ten minutes on two cores
    python -m benchmarks.train_step --compile        beside `torch.compile` too, which takes minutes a net
    python -m benchmarks.train_step --only zoo.sr4

The config's network at its batch and crop, float32, the same weights on both sides; Charbonnier's loss, the gradient
clipped to a norm of 1, AdamW, and the average of the parameters, in one program here and as PyTorch's users write it
there (channels last, fused AdamW). The degradation and the data are left out on both sides: `benchmarks.degrade` and
`benchmarks.input` time them. Before anything is timed the losses are compared. A ratio is ours over theirs, the median
over rounds A B A B in one process a config; below 1 ours is the faster.

The last line is JSON: {"step_ratio": {config: {"torch", "torch_compile"}}, "step_s": {config: {"ours", ...}}}.
"""

import argparse
import importlib
import json
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from benchmarks.nets import compiled
from benchmarks.side_by_side import ROUNDS, THREADS, interleaved, must_agree
from restore_jax.build import build
from restore_jax.cpu import prepare
from restore_jax.nets.torch_weights import recognise

CONFIGS = ("regression", "diffusion", "blind", "gan_regression", "zoo.denoise", "zoo.sr2", "zoo.sr4", "zoo.jpeg")
MOST_PIXELS = 2**18  # of a batch: the largest are cut to what a round can hold
RATE, EPS = 1e-5, 1e-3


def measure(name: str, compiles: bool) -> dict[str, Any]:
    """The row of one config."""
    import torch

    torch.set_num_threads(THREADS)
    config = importlib.import_module(f"configs.{name}").get_config().to_dict()
    net = build(config["method"]["net"])
    side = config["crop_px"] // net.scale
    batch = max(1, min(config["batch_size"], MOST_PIXELS // config["crop_px"] ** 2))
    torch.manual_seed(0)
    module = importlib.import_module(f"benchmarks.torch_nets.{type(net).__module__.rpartition('.')[2]}").twin(net)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.02 * torch.randn_like(p)
    params = jax.tree.map(jnp.asarray, recognise({k: a.numpy() for k, a in module.state_dict().items()}).params)
    module = module.to(memory_format=torch.channels_last)
    white = float(getattr(module, "data_range", 1.0))
    rng = np.random.default_rng(0)
    y = rng.uniform(size=(batch, side, side, 3)).astype(np.float32)
    x = rng.uniform(size=(batch, side * net.scale, side * net.scale, 3)).astype(np.float32)
    levels = (np.full(batch, 0.1, np.float32),) if getattr(net, "embed", 0) else ()

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE, b2=0.99))

    def step(state: Any, x: Any, *inputs: Any) -> Any:
        params, moments, ema = state

        def loss(params: Any) -> Any:
            return jnp.sqrt(jnp.square(net.apply({"params": params}, *inputs) - x) + EPS**2).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(grads, moments, params)
        params = optax.apply_updates(params, updates)
        return (params, moments, jax.tree.map(lambda a, b: a + 1e-3 * (b - a), ema, params)), value

    step = jax.jit(step, donate_argnums=0)
    state = [(params, optimizer.init(params), jax.tree.map(jnp.copy, params))]
    inputs = [jnp.asarray(a) for a in (x, y, *levels)]

    def ours() -> float:
        state[0], value = step(state[0], *inputs)
        jax.block_until_ready(state[0])
        return float(value)

    def planes(a: np.ndarray) -> Any:
        return torch.from_numpy(a).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    target, given = planes(x), (white * planes(y), *map(torch.from_numpy, levels))
    trained = [p for p in module.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    ema = [p.detach().clone() for p in trained]

    def loss_torch(*given: Any) -> Any:
        return torch.sqrt((module(*given) / white - target).square() + EPS**2).mean()

    def theirs(loss: Any) -> float:
        adamw.zero_grad()
        value = loss(*given)
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adamw.step()
        with torch.no_grad():
            torch._foreach_lerp_(ema, trained, 1e-3)
        return value.item()

    one, other = ours(), theirs(loss_torch)
    must_agree(f"{name}: the loss", abs(one - other) / other, 1e-4)
    runs = {"ours": ours, "torch": lambda: theirs(loss_torch)}
    fast, why = compiled(torch, loss_torch, *given) if compiles else (None, "left out")
    if fast is not None:
        runs["torch_compile"] = lambda: theirs(fast)
    seconds, ratios = interleaved(runs, ROUNDS)
    ratios = {"torch_compile": None, **{side: round(ratio, 3) for side, ratio in ratios.items()}}
    return {"step_ratio": ratios, "step_s": seconds, "batch": batch, "side": side, "torch_compile": why or "measured"}


def main() -> None:
    """Each config in a fresh process, and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="configs, separated by commas")
    parser.add_argument("--compile", action="store_true", help="beside torch.compile too")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        prepare()
        print(json.dumps(measure(args.one, args.compile)))
        return
    wanted = args.only.split(",") if args.only else CONFIGS
    rows: dict[str, Any] = {}
    for name in tqdm(wanted, unit="config"):
        command = [sys.executable, "-m", "benchmarks.train_step", "--one", name, *["--compile"][: args.compile]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name}: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}")
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        tqdm.write(f"{name}: {rows[name]['step_ratio']}")
    print(json.dumps({key: {name: row[key] for name, row in rows.items()} for key in ("step_ratio", "step_s")}))


if __name__ == "__main__":
    main()
