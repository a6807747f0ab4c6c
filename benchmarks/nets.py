"""Every backbone against PyTorch, forward and training step, and SPAN against ncnn.

    python -m benchmarks.nets                    all that is not measured yet; about an hour and a half on two cores
    python -m benchmarks.nets --nets rlfn span   these, whether measured or not
    python -m benchmarks.nets --eager            without torch.compile, which takes minutes a net
    python -m benchmarks.nets --table            records what is measured so far, and measures nothing
    python -m benchmarks.nets --quick            small pictures, two rounds, no torch.compile: that it runs, no more

Same net, same weights (drawn by PyTorch, imported as a user's file is), float32, two cores, two threads. PyTorch runs
channels_last, eagerly and under `torch.compile` where that works; a ratio is ours over the faster of the two. Forward
is one picture, without autograd. A step is the value and gradient, with respect to the parameters, of a mean square
loss at a training crop, and an SGD update in place. Before anything is timed, answers and losses are compared, and the
fall of the loss in one step, which is the gradient's length, where both sides have the same parameters (batch norms
and reparameterised branches are folded on ours: as our nets train). Batch norms use their running statistics.

The clock is `benchmarks.side_by_side`. Each net runs in a fresh process with `restore_jax.cpu.prepare`, as our
commands do; the memory is kept for all sides. SPAN beside ncnn is `benchmarks.nets_ncnn`: the published x4 weights,
and the shipped `sr4` beside the same, ncnn with its own defaults (float16 storage where the CPU has it), two threads.

What is measured is kept in `outputs/nets.partial.json` until all of the table is, whatever stops the run. Rows that are
measured again take their places in the table; each says its commit.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.nets_ncnn import measure_ncnn
from benchmarks.record import ROOT, commit, record
from benchmarks.side_by_side import ROUNDS, THREADS, difference, interleaved, must_agree
from restore_jax import cpu
from restore_jax.build import build
from restore_jax.nets.torch_weights import recognise

PARTIAL = ROOT / "outputs" / "nets.partial.json"


@dataclasses.dataclass(frozen=True)
class Case:
    """A net, the side of the picture it restores and of the crop it trains on, in pixels of its input."""

    spec: dict[str, Any]
    side: int
    crop: int = 48
    batch: int = 1


def case(name: str, side: int, crop: int = 48, batch: int = 1, **fields: Any) -> Case:
    """Of the net called `name` under `restore_jax.nets`, with the fields that are not its defaults."""
    return Case({"name": f"nets.{name}", **fields}, side, crop, batch)


# Published sizes where a forward pass takes less than about half a second and compiles in well under a minute; of the
# large nets fewer of the same blocks.
CASES = {
    "nafnet": case("nafnet.NAFNet", 256, 128, enc_blocks=(1, 1, 1, 4)),
    "unet": case("unet.UNet", 256, 128),
    "restormer": case("restormer.Restormer", 128, 64, blocks=(1, 2, 2, 2), refinement=1),
    "swinir": case("swinir.SwinIR", 64, 32, width=60, depths=(6, 6), heads=6, upsampler="pixelshuffledirect"),
    "dit": case("dit.DiT", 128, 64),
    "edsr": case("edsr.EDSR", 64, blocks=8),
    "rrdb": case("rrdb.RRDBNet", 48, 32, blocks=3),
    "srvgg": case("srvgg.SRVGG", 96),
    "imdn": case("imdn.IMDN", 96),
    "carn": case("carn.CARN", 96),
    "safmn": case("safmn.SAFMN", 128),
    "rlfn": case("rlfn.RLFN", 128),
    "rfdn": case("rfdn.RFDN", 128),
    "fmen": case("fmen.FMEN", 128),
    "bsrn": case("bsrn.BSRN", 128),
    "lkdn": case("lkdn.LKDN", 128),
    "span": case("span.SPAN", 128, deploy=True),
    "dncnn": case("dncnn.DnCNN", 160, 96),
    "ffdnet": case("ffdnet.FFDNet", 256, 128),
    "ecbsr": case("ecbsr.ECBSR", 192, 64, deploy=True),
}


def imported(name: str, torch: Any) -> tuple[Any, dict, Any, float]:
    """Our net, its parameters, PyTorch's net with the same, and what a white pixel is to the latter.

    Layers that start at zero are moved: a net behind a zero would agree with anything.
    """
    net = build(CASES[name].spec)
    torch.manual_seed(0)
    module = importlib.import_module(f"benchmarks.torch_nets.{name}").twin(net).eval()
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p += 0.02 * torch.randn_like(p)
    found = recognise({key: a.numpy() for key, a in module.state_dict().items()})
    if build(found.net) != net:
        raise SystemExit(f"{name}: PyTorch's twin was recognised as {found.net}, not as {CASES[name].spec}.")
    params = jax.tree.map(jnp.asarray, found.params)
    return net, params, module.to(memory_format=torch.channels_last), float(getattr(module, "data_range", 1.0))


def compiled(torch: Any, function: Callable[..., Any], *inputs: Any) -> tuple[Callable[..., Any] | None, str]:
    """`function` under torch.compile, run once; None, and why, where that does not work here."""
    try:
        fast = torch.compile(function)
        fast(*inputs)
    except Exception as error:  # a compiler that is missing, an operation that it does not take
        return None, (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return fast, ""


def measure(name: str, quick: bool, eager: bool) -> dict[str, Any]:
    """The row of one net: agreement first, then times."""
    import torch

    torch.set_num_threads(THREADS)
    net, params, module, white = imported(name, torch)
    case, rounds = CASES[name], 2 if quick else ROUNDS
    cell = max(1, net.factor // net.scale)
    sides = [-(-(min(side, 32) if quick else side) // cell) * cell for side in (case.side, case.crop)]
    rng = np.random.default_rng(0)
    level = np.full(case.batch, 0.1, np.float32)
    listens = bool(getattr(net, "embed", 0))

    def pictures(n: int, side: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        x = rng.uniform(size=(n, side, side, getattr(net, "out_channels", 3))).astype(np.float32)
        theirs = white * torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        more = (level[:1].repeat(n),) if listens else ()
        return (jnp.asarray(x), *map(jnp.asarray, more)), (theirs, *map(torch.from_numpy, more))

    row: dict[str, Any] = {"spec": case.spec, "side": sides[0], "crop": sides[1], "batch": case.batch, "notes": []}
    forward = jax.jit(lambda params, *inputs: net.apply({"params": params}, *inputs))
    ours, theirs = pictures(1, sides[0])
    with torch.no_grad():
        answer = module(*theirs)
        row["difference"] = difference(forward(params, *ours), answer.permute(0, 2, 3, 1) / white)
        must_agree(f"{name} forward", row["difference"], 1e-3 if quick else 1e-4)
        fast, why = (None, "left out") if eager else compiled(torch, module, *theirs)
    runs = {"ours": lambda: forward(params, *ours).block_until_ready(), "eager": lambda: module(*theirs)}
    if fast is None:
        row["notes"].append(f"torch.compile, forward: {why}")
    else:
        runs["compiled"] = lambda: fast(*theirs)
    with torch.no_grad():
        row |= figures("forward", *interleaved(runs, rounds))
    row["forward_s_per_mpx"] = row["forward_s"]["ours"] / (answer.shape[2] * answer.shape[3] / 1e6)
    crops = pictures(case.batch, sides[1])
    return row | step_figures(torch, net, params, module, white, crops, rounds, row["notes"], eager)


def step_figures(
    torch: Any, net: Any, params: Any, module: Any, white: float, pictures: Any, rounds: int, notes: list, eager: bool
) -> dict[str, Any]:
    """The same for the training step, at a rate that lowers the loss by about a hundredth at first, then by nothing."""
    ours, theirs = pictures
    answer = module(*theirs).detach()
    aim = torch.rand(answer.shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    target, target_torch = jnp.asarray(aim.permute(0, 2, 3, 1).contiguous().numpy()), white * aim

    def update(params, rate, *inputs):
        def loss(params):
            return jnp.square(net.apply({"params": params}, *inputs) - target).mean()

        value, grads = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - rate * g, params, grads)

    step = jax.jit(update, donate_argnums=0)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0)

    def loss_torch(*inputs):
        return torch.nn.functional.mse_loss(module(*inputs), target_torch)

    def step_torch(loss):
        optimizer.zero_grad()
        value = loss(*theirs)
        value.backward()
        optimizer.step()
        return value

    first = step_torch(loss_torch).item()
    length = sum(float(p.grad.square().sum()) for p in trained if p.grad is not None)
    rate = 0.01 * first / length
    optimizer.param_groups[0]["lr"] = rate
    value, params = step(params, jnp.float32(rate * white**-2), *ours)
    must_agree("loss", abs(float(value) - first / white**2) / (first / white**2), 1e-3)
    folded = white != 1 or getattr(module, "folded", False)  # numbers that the converter moves into a layer
    same = not folded and sum(p.numel() for p in trained) == sum(a.size for a in jax.tree.leaves(params))
    if same:
        step_torch(loss_torch)
        optimizer.param_groups[0]["lr"] = 0.0
        fall = first - step_torch(loss_torch).item()
        value, params = step(params, jnp.float32(0), *ours)
        # Of a loss known to 1e-6 a hundredth is left, known to 1e-4.
        must_agree("the fall of the loss in a step", abs((first - float(value)) - fall) / abs(fall), 2e-2)
    else:
        notes.append("step: the two sides have different parameters, folded or rescaled at import; losses compared")
    state, rest = [params], jnp.float32(1e-6 * rate)
    optimizer.param_groups[0]["lr"] = 1e-6 * rate

    def run_ours():
        value, state[0] = step(state[0], rest, *ours)
        jax.block_until_ready((value, state[0]))

    runs = {"ours": run_ours, "eager": lambda: step_torch(loss_torch)}
    fast, why = (None, "left out") if eager else compiled(torch, loss_torch, *theirs)
    if fast is not None:
        try:
            step_torch(fast)  # the backward pass is compiled at its first call
            runs["compiled"] = lambda: step_torch(fast)
        except Exception as error:
            why = str(error).splitlines()[0][:120]
    if why:
        notes.append(f"torch.compile, step: {why}")
    return figures("step", *interleaved(runs, rounds))


def figures(what: str, medians: dict[str, float], ratios: dict[str, float]) -> dict[str, Any]:
    """Seconds of all sides, and the ratio to the fastest of the others."""
    fastest = min(ratios, key=lambda side: medians[side])
    return {f"{what}_s": medians, f"{what}_ratio": ratios[fastest], f"{what}_against": fastest}


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    """Ratios by net, and the rest beside them."""
    nets = {name: row for name, row in rows.items() if "forward_ratio" in row and "step_ratio" in row}
    ncnn = {"ratio": None, "sr4_ratio": None} | rows.get("span_vs_ncnn", {})
    return {
        "forward_ratio": {name: round(row["forward_ratio"], 3) for name, row in nets.items()},
        "step_ratio": {name: round(row["step_ratio"], 3) for name, row in nets.items()},
        "span_vs_ncnn": ncnn["ratio"] and round(ncnn["ratio"], 3),
        "sr4_vs_ncnn": ncnn["sr4_ratio"] and round(ncnn["sr4_ratio"], 3),
        "forward_s_per_mpx": {name: round(row["forward_s_per_mpx"], 4) for name, row in nets.items()},
        "rows": rows,
    }


def measured_before(again: bool) -> dict[str, Any]:
    """The rows of a run that was stopped; where some are to be measured `again`, of the table, if of this processor."""
    if PARTIAL.exists():
        return json.loads(PARTIAL.read_text())
    table = ROOT / "results" / "nets.json"
    page = json.loads(table.read_text()) if again and table.exists() else None
    return page["figures"]["rows"] if page and page["hardware"]["cpu"] == cpu.model() else {}


def publish(kept: dict[str, Any], everything: list[str]) -> None:
    """`results/nets.json` of the rows that there are; it names those that are missing."""
    rows = {name: kept[name] for name in everything if name in kept}
    missing = [name for name in everything if name not in kept]
    record("nets", summary(rows) | {"missing": missing}, " ".join((__doc__ or "").split()))


def in_a_process(name: str, flags: list[str]) -> dict[str, Any]:
    """The row that a fresh process measures; `{"error": ...}` where it could not."""
    command = [sys.executable, "-m", "benchmarks.nets", "--one", name, *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
        return {"error": said[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def line(name: str, row: dict[str, Any]) -> str:
    """A row as it is printed."""
    if "error" in row:
        return f"{name:12s} failed: {row['error']}"
    parts = []
    for what in ("forward", "step"):
        if f"{what}_s" in row:
            ratio = row.get(f"{what}_ratio", row.get("ratio"))
            seconds = "  ".join(f"{side} {s * 1e3:.1f}" for side, s in row[f"{what}_s"].items())
            parts.append(f"{what} {ratio:.2f} ({seconds} ms)")
    return f"{name:12s} {'   '.join(parts)}   {'; '.join(row.get('notes', ()))}".rstrip()


def main() -> None:
    """Measures what is missing or was asked for, and records the table once it is whole."""
    everything = [*CASES, "span_vs_ncnn"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=everything, help="measure these, again if need be")
    parser.add_argument("--quick", action="store_true", help="small pictures, few rounds; nothing is kept")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--table", action="store_true", help="record what is measured, and measure nothing")
    parser.add_argument("--one", choices=everything, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        cpu.prepare()
        row = (
            measure_ncnn(asked.quick)
            if asked.one == "span_vs_ncnn"
            else measure(asked.one, asked.quick, asked.eager or asked.quick)
        )
        print(json.dumps(row))
        return
    if importlib.util.find_spec("torch") is None:
        sys.exit("PyTorch is not installed: `pip install -e .[bench]`.")
    if hasattr(os, "sched_setaffinity"):  # for the processes to come: as many cores as threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    kept = {} if asked.quick else measured_before(again=bool(asked.nets))
    if asked.table:
        publish(kept, everything)
        return
    names = asked.nets or [name for name in everything if name not in kept]
    flags = [flag for flag, on in (("--quick", asked.quick), ("--eager", asked.eager)) if on]
    start, failed = time.monotonic(), []
    for i, name in enumerate(names, 1):
        row = in_a_process(name, flags)
        print(f"[{i}/{len(names)} {time.monotonic() - start:4.0f} s] {line(name, row)}", flush=True)
        if "error" in row:
            failed.append(name)
            continue
        kept[name] = row | {"commit": commit()}
        if not asked.quick:
            PARTIAL.parent.mkdir(exist_ok=True)
            fresh = PARTIAL.with_suffix(".fresh")
            fresh.write_text(json.dumps(kept, indent=2))
            fresh.replace(PARTIAL)
    if not asked.quick and set(kept) >= set(everything):
        publish(kept, everything)
        PARTIAL.unlink(missing_ok=True)
    if failed:
        sys.exit(
            f"without figures: {', '.join(failed)}; what is measured is kept, and the next run goes on from there."
        )


if __name__ == "__main__":
    main()
